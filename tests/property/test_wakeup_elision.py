"""Wake-up elision: doorbells are left out while the receiver is awake, and no message waits beside a sleeper.

The two ends take their steps in any order, the receiver's also between a sender's store and its look at the socket, and
either may be killed and replaced between any two steps.
"""

import contextlib
import select

from hypothesis import given, settings
from hypothesis import strategies as st

from pardata.channel.sleep import Sleep
from pardata.channel.words import NEWEST, slot_at
from tests.unit.channel.rig import DyingWords, Killed, Rig, numbers

SLOTS = 12
STEPS = st.integers(0, 12)


class LateWaker:
    """Things happen between the store of a message and the look whether its receiver sleeps."""

    def __init__(self, waker, steps):
        self._waker, self._steps = waker, steps

    def is_needed(self):
        for step in self._steps:
            step()
        return self._waker.is_needed()


class Play:
    """A rig whose receiver goes through: awake -> it has said that it sleeps -> asleep."""

    def __init__(self):
        self.rig = Rig(SLOTS, elides_wakeups=True)
        self.sleep = Sleep(self.rig.receiver.asleep)
        self.published = 0
        self.seen = []
        self.state = "awake"
        self.doorbells = 0

    @property
    def is_woken(self):
        return bool(select.select([self.rig.socks[1]], [], [], 0)[0])

    def step(self):
        """One step of the receiver, as `Collector.wait` takes them."""
        receiver = self.rig.receiver
        if self.state == "awake":
            assert receiver.flush()
            self.sleep.begin()
            self.state = "looking"
        elif self.state == "looking":
            claims = receiver.poll()
            self.take(claims)
            if claims:
                self.sleep.end()
            self.state = "awake" if claims else "asleep"
        elif self.is_woken:
            self.sleep.end()
            self.take(receiver.receive())
            self.state = "awake"

    def take(self, claims):
        self.seen += numbers(claims)
        self.rig.finish(claims)

    def publish(self, steps, dying_at=None):
        """Publish a message; the receiver takes `steps` steps before the sender looks at its socket."""
        rig = self.rig
        if not rig.sender.slots.has_room:
            rig.sender.receive()
        if not rig.sender.slots.has_room:
            return
        words, waker = rig.sender._words, rig.sender._waker
        rig.sender._waker = LateWaker(waker, [self.step] * steps)
        if dying_at is not None:
            slot = rig.sender.slots.next()
            index, after = [(NEWEST, False), (NEWEST, True), (slot_at(slot), True)][dying_at]
            rig.sender._words = DyingWords(words, index, after)
        try:
            rig.send(self.published, size=1)
            rig.sender._waker = waker
        except Killed:
            rig.replace_sender()
        self.published += 1
        self.check()

    def kill_receiver(self):
        self.take(self.rig.replace_receiver())
        self.sleep = Sleep(self.rig.receiver.asleep)
        self.state = "awake"

    def check(self):
        """A sleeper that is not being woken has seen all there is."""
        if self.state == "asleep" and not self.is_woken:
            assert not self.rig.receiver.poll()
            assert self.seen[-1:] == [self.published - 1] * (self.published > 0)


EVENTS = st.one_of(
    st.tuples(st.just("publish"), STEPS),
    st.tuples(st.just("publish"), STEPS),
    st.tuples(st.just("step"), STEPS),
    st.tuples(st.just("step"), STEPS),
    st.tuples(st.just("kill sender"), st.integers(0, 2)),
    st.tuples(st.just("kill receiver"), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_no_message_waits_beside_a_sleeper(events):
    play = Play()
    with contextlib.closing(play.rig):
        for kind, number in events:
            if kind == "publish":
                play.publish(number)
            elif kind == "kill sender":
                play.publish(0, dying_at=number)
            elif kind == "kill receiver":
                play.kill_receiver()
            else:
                for _ in range(number):
                    play.step()
            play.check()
        for _ in range(20):
            play.step()
        assert play.state == "asleep"
        assert play.seen == list(range(play.published))


class MeanwhileWords:
    """A receiver's words of its sender's side: after so many reads something happens, once."""

    def __init__(self, words, reads, call):
        self._words, self._left, self._call = words, reads, call

    def __getitem__(self, index):
        value = self._words[index]
        self._left -= 1
        if not self._left:
            self._call()
        return value


@given(st.integers(0, SLOTS), st.integers(1, 3 * SLOTS))
def test_what_is_published_while_a_successor_looks_is_found(before, reads):
    play = Play()
    with contextlib.closing(play.rig):
        for _ in range(before):
            play.publish(0)
        receiver = play.rig.receiver
        words = receiver._words
        receiver._words = MeanwhileWords(words, reads, lambda: [play.publish(0) for _ in range(3)])
        play.take(receiver.scan())
        receiver._words = words
        for _ in range(20):
            play.step()
        assert play.seen == list(range(play.published))


def test_receiver_that_is_awake_gets_no_doorbells():
    play = Play()
    with contextlib.closing(play.rig):
        play.publish(0)
        while play.is_woken:
            play.take(play.rig.receiver.receive())
        for _ in range(5):
            play.publish(0)
        assert not play.is_woken
        play.take(play.rig.receiver.poll())
        assert play.seen == list(range(6))
