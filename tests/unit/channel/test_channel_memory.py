"""What a channel takes: nothing for what was never used, and as much as it counts."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pardata.channel.words import AREA_BYTES, SMALL_BYTES, slot_at, words_bytes
from pardata.codec.batch_codec import Batch
from pardata.memory.budget import CONTROL
from pardata.memory.segment import PAGE_BYTES
from tests.unit.channel.rig import Killed, Rig, numbers

MANY = 2000  # slots, as for a farm of 64


@pytest.fixture
def rig():
    with contextlib.closing(Rig(MANY)) as made:
        yield made


def allocated_bytes(rig):
    """The pages of both sides of the channel, by the segment's file: it has two more, the header and one of leases."""
    return rig.resident_bytes - 2 * PAGE_BYTES


def send(rig, number, payload):
    rig.outbox.publish(Batch(0, number, 1, 0, [payload]))


def test_both_ends_together_take_two_pages_before_a_message(rig):
    assert allocated_bytes(rig) <= words_bytes(0) == 2 * PAGE_BYTES


def test_successors_look_only_at_what_was_used(rig):
    send(rig, 0, b"x")
    rig.replace_sender()
    assert numbers(rig.replace_receiver()) == [0]
    rig.receiver.report_leases()
    rig.sender.receive()
    assert rig.receiver.waiting() == [(0, 0)]
    assert allocated_bytes(rig) <= words_bytes(1)


def test_messages_that_are_finished_one_after_the_other_use_two_slots(rig):
    for number in range(50):
        send(rig, number, b"x")
        rig.finish(rig.receiver.receive())
        rig.settle()
    assert allocated_bytes(rig) <= words_bytes(2)
    assert rig.header[CONTROL] == words_bytes(2) - words_bytes(0)


def test_small_messages_that_wait_take_256_bytes_each(rig):
    for number in range(1000):
        send(rig, number, b"x")
    assert allocated_bytes(rig) <= words_bytes(1000) <= (256 + 8) * 1001 + 2 * PAGE_BYTES
    assert numbers(rig.receiver.scan()) == list(range(1000))


@pytest.mark.parametrize("size", [0, SMALL_BYTES - 1, SMALL_BYTES, SMALL_BYTES + 1, PAGE_BYTES + 1, AREA_BYTES])
@pytest.mark.parametrize("places", [None, [5], list(range(1, 19)), list(range(1, 20))])
def test_what_lies_in_the_record_and_what_does_not_arrives(rig, size, places):
    if places is not None:
        size = max(0, size - 8 * len(places))
    sent = Batch(3, 7, 9, 2, [b"\7" * size], places)
    for _ in range(3):  # in slots that are new, and in ones that had other contents
        rig.outbox.publish(sent)
        (claim,) = rig.receiver.receive()
        received = rig.receiver.read(claim)
        assert (received.items, received.positions, received.number) == (sent.items, places, 7)
        rig.receiver.commit(claim)
        rig.settle()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, AREA_BYTES), st.integers(0, 3), st.booleans()), max_size=40))
def test_what_is_counted_is_what_is_allocated(plan):
    """Messages of any size, some of which are finished at once, and senders that are killed in between."""
    with contextlib.closing(Rig(MANY)) as rig:
        waiting = []
        for number, (size, finished, is_killed) in enumerate(plan):
            send(rig, number, b"y" * size)
            waiting += rig.receiver.receive()
            rig.finish(waiting[:finished])
            del waiting[:finished]
            rig.settle()
            if is_killed:
                rig.replace_sender()
                waiting += rig.receiver.receive()
        counted = words_bytes(0) + rig.header[CONTROL]
        assert allocated_bytes(rig) <= counted
        assert counted <= allocated_bytes(rig) + 2 * PAGE_BYTES  # done words, and records, nobody has looked at yet


class PublishesMeanwhile:
    """The words of a channel, whose sender publishes two messages while its receiver reads for the `reads`-th time."""

    def __init__(self, words, reads, call):
        self._words, self._left, self._call = words, reads, call

    def __getitem__(self, index):
        value = self._words[index]
        self._left -= 1
        if self._left == 0:
            self._call()
        return value


@pytest.mark.parametrize("reads", range(1, 12))
def test_a_message_in_a_slot_that_is_new_is_not_passed_by_a_later_one(rig, reads):
    """The later one lies in a slot that was used before: a look that finds it must find the other as well."""
    send(rig, 0, b"x")
    send(rig, 1, b"x")
    claims = rig.receiver.receive()
    send(rig, 2, b"x")
    (third,) = rig.receiver.receive()

    def publish_two():
        send(rig, 3, b"x")  # nothing is free: a new slot
        rig.finish(claims)
        rig.settle()
        send(rig, 4, b"x")

    words = rig.receiver._words
    rig.receiver._words = PublishesMeanwhile(words, reads, publish_two)
    seen = numbers(rig.receiver.scan())
    rig.receiver._words = words
    assert seen in ([], [3], [3, 4])
    rig.finish([third])


def test_a_sender_that_is_killed_with_a_slot_in_its_hand_leaves_it_free(rig):
    send(rig, 0, b"x")

    class Dies:
        def __init__(self, words):
            self._words = words

        def __getitem__(self, index):
            return self._words[index]

        def __setitem__(self, index, value):
            if index == slot_at(1):
                raise Killed
            self._words[index] = value

    rig.sender._words = Dies(rig.sender._words)
    with pytest.raises(Killed):
        send(rig, 1, b"y")
    rig.replace_sender()
    assert rig.sender.slots.outstanding == 1
    send(rig, 1, b"z")
    assert numbers(rig.receiver.receive() or rig.receiver.scan()) == [0, 1]
    assert rig.header[CONTROL] == words_bytes(2) - words_bytes(0)
