"""A channel whose ends die between any two steps: nothing is lost or doubled, no block is freed while it is held."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.channel.rig import LARGE, Rig, values

SLOTS = 3


class Channel(RuleBasedStateMachine):
    """The model: what was sent, what was committed, and what the living receiver holds of it."""

    def __init__(self):
        super().__init__()
        self.rig = Rig(SLOTS)
        self.sent = 0
        self.finished = []
        self.claims = []
        self.held = {}

    @precondition(lambda self: self.rig.sender.slots.has_room)
    @rule(size=st.sampled_from([4, LARGE]))
    def send(self, size):
        self.rig.send(self.sent, size=size)
        self.sent += 1

    @rule()
    def receive(self):
        self.claims += self.rig.receiver.receive()

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), keeps=st.booleans())
    def finish(self, data, keeps):
        claim = self.claims.pop(data.draw(st.integers(0, len(self.claims) - 1)))
        (array,) = self.rig.finish([claim])
        assert values([array]) == [claim.number]
        self.finished.append(claim.number)
        if keeps:
            self.held[claim.number] = array[::-1]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop(self, data):
        del self.held[data.draw(st.sampled_from(sorted(self.held)))]

    @rule()
    def tell(self):
        self.rig.receiver.flush()

    @rule()
    def hear(self):
        self.rig.sender.receive()

    @rule()
    def sender_dies(self):
        self.rig.replace_sender()

    @rule(read=st.booleans())
    def receiver_dies(self, read):
        if read:  # in the middle of its work
            for claim in self.claims:
                self.rig.receiver.read(claim)
        self.held.clear()
        self.claims = self.rig.replace_receiver()

    @rule()
    def both_die(self):
        self.held.clear()
        self.claims = self.rig.replace_receiver()
        self.rig.replace_sender()

    @invariant()
    def nothing_is_doubled(self):
        assert len(set(self.finished)) == len(self.finished)
        assert not set(self.finished) & {claim.number for claim in self.claims}

    @invariant()
    def what_is_held_is_what_was_sent(self):
        assert values(self.held.values()) == list(self.held)

    @invariant()
    def what_was_published_is_known_to_a_successor(self):
        last = self.rig.sender.slots.last()
        assert last == ((0, self.sent - 1, 1, 0) if self.sent else None)

    def teardown(self):
        self.claims += self.rig.receiver.receive()
        for claim in self.claims:
            self.rig.finish([claim])
            self.finished.append(claim.number)
        self.held.clear()
        self.rig.settle()
        free, live = self.rig.free_slots, self.rig.arena.statistics()["live_bytes"]
        self.rig.close()
        assert sorted(self.finished) == list(range(self.sent))
        assert (free, live) == (SLOTS, 0)


TestChannel = Channel.TestCase
TestChannel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
