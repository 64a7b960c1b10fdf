"""publish -> receive -> read -> commit: a slot is taken until the commit, a block until its last view is gone."""

import gc
import socket

import numpy as np
import pytest

from pardata.channel.channel import socket_pair
from pardata.channel.words import CAPACITY
from pardata.codec.access import Access
from pardata.codec.batch_codec import INLINE_BYTES, Batch
from pardata.errors import BrokenError
from pardata.memory.array import view
from tests.unit.channel.rig import LARGE, numbers, values

# -- one message -------------------------------------------------------------------------------------------------------


def test_batch_arrives_with_its_numbers(rig):
    rig.outbox.publish(Batch(3, 70, 8, 5, ["a", "b"], [1, 6]))
    (claim,) = rig.receiver.receive()
    assert (claim.sequence, claim.number, claim.count, claim.cell) == (3, 70, 8, 5)
    batch = rig.receiver.read(claim)
    assert (batch.sequence, batch.number, batch.count, batch.cell) == (3, 70, 8, 5)
    assert (batch.items, batch.positions) == (["a", "b"], [1, 6])
    assert [batch.item_number(0), batch.item_number(1)] == [71, 76]


@pytest.mark.parametrize(
    "positions", [None, [], [0], list(range(64))], ids=lambda p: "all" if p is None else str(len(p))
)
def test_positions_arrive_and_none_is_not_empty(rig, positions):
    items = [] if positions is None else list(positions)
    rig.outbox.publish(Batch(0, 0, 64, 0, items, positions))
    (claim,) = rig.receiver.receive()
    batch = rig.receiver.read(claim)
    assert (batch.items, batch.positions) == (items, positions)


def test_sequences_are_called_what_the_receiver_calls_them(rig):
    rig.receiver.renamed = {0: 9}
    rig.send(1)
    (claim,) = rig.receiver.receive()
    assert claim.sequence == rig.receiver.read(claim).sequence == 9


def test_nothing_is_received_before_something_is_published(rig):
    assert rig.receiver.receive() == []
    assert rig.receiver.scan() == []


def test_messages_come_in_the_order_in_which_they_were_published(make_rig):
    rig = make_rig(slots=3)
    seen = []
    for number in range(20):
        rig.send(number)
        if number % 2:
            claims = rig.receiver.receive()
            seen += numbers(claims)
            rig.finish(reversed(claims))
            rig.settle()
    assert seen == list(range(20))


def test_each_message_is_received_once(rig):
    rig.send(0, 1)
    assert numbers(rig.receiver.receive()) == [0, 1]
    assert rig.receiver.receive() == []
    assert rig.receiver.scan() == []


def test_payload_of_any_size_arrives(make_rig):
    rig = make_rig(slots=2)
    for size in (0, 1, CAPACITY - 200, CAPACITY - 3, CAPACITY, CAPACITY + 1, 10 * CAPACITY, 1 << 22):
        rig.outbox.publish(Batch(0, 0, 1, 0, [b"x" * size]))
        (claim,) = rig.receiver.receive()
        assert rig.receiver.read(claim).items == [b"x" * size]
        rig.receiver.commit(claim)
        rig.settle()
    assert rig.arena.statistics()["live_bytes"] == 0  # also where the payload lay in a block


def test_large_payload_and_positions_and_arrays_travel_together(rig):
    positions = list(range(0, 20_000, 2))
    items = [np.arange(INLINE_BYTES), b"x" * 100_000, *range(len(positions) - 2)]
    rig.outbox.publish(Batch(0, 0, 20_000, 0, list(items), positions))
    (claim,) = rig.receiver.receive()
    batch = rig.receiver.read(claim)
    assert batch.positions == positions
    assert np.array_equal(batch.items[0], items[0])
    assert batch.items[1:] == items[1:]
    del batch
    rig.receiver.commit(claim)
    rig.settle()
    assert rig.arena.statistics()["live_bytes"] == 0


# -- slots -------------------------------------------------------------------------------------------------------------


def test_slot_is_taken_by_publish_and_free_after_the_commit_was_told(make_rig):
    rig = make_rig(slots=2)
    rig.send(0, 1)
    assert not rig.sender.slots.has_room
    assert rig.sender.slots.outstanding == 2
    rig.finish(rig.receiver.receive()[:1])
    rig.sender.receive()
    assert not rig.sender.slots.has_room  # not told yet
    rig.settle()
    assert rig.sender.slots.has_room
    assert rig.free_slots == 1


def test_slot_of_the_last_message_is_not_used_for_the_next(make_rig):
    """A successor reads there what was published last; so one slot more is needed than messages are to be under way."""
    rig = make_rig(slots=2)
    rig.send(0, 1)
    rig.finish(rig.receiver.receive()[1:])
    rig.settle()
    assert not rig.sender.slots.has_room
    assert rig.free_slots == 1


def test_slots_are_used_over_and_over(make_rig):
    rig = make_rig(slots=2)
    for number in range(100):
        rig.send(number)
        assert values(rig.finish(rig.receiver.receive())) == [number]
        rig.settle()
    assert rig.free_slots == 2
    assert rig.live_blocks == 0


def test_doorbell_that_comes_twice_is_harmless(make_rig):
    rig = make_rig(slots=2)
    rig.send(0)
    doorbell = rig.socks[1].recv(100, socket.MSG_PEEK)
    rig.socks[0].send(doorbell)
    (claim,) = rig.receiver.receive()
    rig.finish([claim])
    assert rig.receiver.flush()
    told = rig.socks[0].recv(1000, socket.MSG_PEEK)
    rig.socks[1].send(told)
    rig.sender.receive()
    assert rig.free_slots == 2
    assert rig.live_blocks == 0


def test_late_doorbell_does_not_free_the_slots_next_message(make_rig):
    rig = make_rig(slots=2)
    rig.send(0)
    rig.finish(rig.receiver.receive())
    rig.receiver.flush()
    told = rig.socks[0].recv(1000, socket.MSG_PEEK)
    rig.sender.receive()
    rig.send(1)
    rig.finish(rig.receiver.receive())
    rig.settle()
    rig.send(2)  # in the slot of the first
    rig.socks[1].send(told)
    rig.sender.receive()
    assert rig.free_slots == 1
    assert rig.live_blocks == 1


def test_socket_that_is_full_delays_what_is_told_and_loses_nothing(make_rig):
    """A sender that computes for a long time does not read; its receiver goes on and tells it later."""
    rig = make_rig(slots=600)
    claims = []
    for number in range(600):
        rig.send(number, size=4)
        claims += rig.receiver.receive()
    told_all = True
    for claim in claims:
        rig.finish([claim])
        told_all = rig.receiver.flush()
    assert not told_all
    assert rig.receiver.owes > 0
    while not rig.receiver.flush():
        rig.sender.receive()
    rig.sender.receive()
    assert rig.free_slots == 600
    assert rig.receiver.owes == 0


def test_publishing_into_a_full_socket_waits_for_nobody_and_loses_nothing(make_rig):
    """A receiver that computes for a long time does not read; both could be in that position at once."""
    rig = make_rig(slots=1000)
    rig.send(*range(900), size=4)
    rig.sender.close()
    assert rig.sender.owes
    assert not rig.sender.flush()
    claims = rig.receiver.receive()
    assert 0 < len(claims) < 900
    assert rig.sender.flush()
    claims += rig.receiver.receive()
    assert numbers(claims) == list(range(900))
    assert not rig.sender.owes
    rig.finish(claims)
    assert rig.receiver.at_end


def test_successor_of_a_receiver_whose_sender_does_not_read_waits_for_nobody(make_rig):
    rig = make_rig(slots=1000)
    rig.send(*range(600), size=4)
    for claim in rig.receiver.receive() + rig.receiver.scan():
        rig.finish([claim])
        rig.receiver.flush()
    rig.replace_receiver()
    assert rig.receiver.owes
    while not rig.receiver.flush():
        rig.sender.receive()
    rig.sender.receive()
    assert rig.free_slots == 1000


# -- the end of the stream ---------------------------------------------------------------------------------------------


def test_stream_is_at_its_end_when_the_sender_has_closed_and_all_is_committed(rig):
    rig.send(0, 1)
    assert not rig.receiver.at_end
    claims = rig.receiver.receive()
    rig.finish(claims[:1])
    rig.sender.close()
    assert rig.receiver.receive() == []
    assert not rig.receiver.at_end
    rig.finish(claims[1:])
    assert rig.receiver.at_end


def test_close_before_the_messages_are_received_loses_none(rig):
    rig.send(0, 1)
    rig.sender.close()
    assert not rig.receiver.at_end
    claims = rig.receiver.receive()
    assert numbers(claims) == [0, 1]
    rig.finish(claims)
    assert rig.receiver.at_end


def test_empty_stream_ends(rig):
    rig.sender.close()
    assert rig.receiver.at_end


def test_end_may_be_said_twice(rig):
    rig.send(0)
    rig.sender.close()
    rig.replace_sender()
    rig.sender.close()
    rig.finish(rig.receiver.receive())
    assert rig.receiver.at_end


def test_end_of_the_other_socket_says_that_the_run_is_gone(rig):
    rig.socks[0].close()
    with pytest.raises(BrokenError, match="the run is gone"):
        rig.receiver.receive()
    rig.receiver.returns.settled += (0, 0)
    with pytest.raises(BrokenError, match="the run is gone"):
        rig.receiver.flush()


def test_publishing_to_a_run_that_is_gone_says_so(rig):
    rig.socks[1].close()
    with pytest.raises(BrokenError, match="the run is gone"):
        rig.send(0)


# -- leases ------------------------------------------------------------------------------------------------------------


def test_block_lives_until_the_last_view_is_dropped_and_that_is_told(rig):
    rig.send(5)
    assert rig.live_blocks == 1
    (array,) = rig.finish(rig.receiver.receive())
    part = array[::7]
    rig.settle()
    del array
    rig.settle()
    assert rig.live_blocks == 1
    assert set(part) == {5}
    del part
    assert rig.live_blocks == 1  # not told yet
    assert rig.receiver.owes == 1
    rig.settle()
    assert rig.live_blocks == 0


def test_block_lives_until_the_commit_also_if_nobody_looks_at_it(rig):
    rig.send(5)
    (claim,) = rig.receiver.receive()
    rig.receiver.read(claim)
    rig.settle()
    assert rig.live_blocks == 1
    rig.receiver.commit(claim)
    rig.settle()
    assert rig.live_blocks == 0


def test_message_that_is_discarded_ends_its_leases(rig):
    rig.send(5)
    (claim,) = rig.receiver.receive()
    rig.receiver.discard(claim)
    rig.settle()
    assert (rig.live_blocks, rig.free_slots) == (0, 4)


def test_block_that_is_held_is_not_used_again(rig):
    held = []
    for number in range(8):
        rig.send(number)
        held += rig.finish(rig.receiver.receive())
        rig.settle()
        if number % 2:
            held.pop()
    assert values(held) == [0, 2, 4, 6]
    rig.settle()
    assert rig.live_blocks == 4


def test_items_that_are_views_of_one_block_share_its_lease(rig):
    whole = view(rig.arena.reserve(8 * LARGE), 0, "f8", (LARGE,), None)
    whole[:] = np.arange(LARGE)
    whole.setflags(write=False)
    rig.outbox.publish(Batch(0, 0, 3, 0, [whole, whole[: LARGE // 2], whole[::-1]]))
    assert len(rig.leases) == 1
    received = rig.finish(rig.receiver.receive())
    del received[:2]
    rig.settle()
    assert len(rig.leases) == 1
    assert np.array_equal(received[0], whole[::-1])
    received.clear()
    rig.settle()
    assert len(rig.leases) == 0


def test_array_kept_in_a_cycle_returns_with_the_garbage(rig):
    rig.send(5)
    cycle = rig.finish(rig.receiver.receive())
    cycle.append(cycle)
    del cycle
    gc.collect()
    rig.settle()
    assert rig.live_blocks == 0


def test_receiver_knows_what_is_held(rig):
    rig.send(0, 1)
    arrays = rig.finish(rig.receiver.receive())
    assert len(rig.receiver.held.live) == 2
    del arrays[0]
    rig.settle()
    ((offset, extent),) = rig.receiver.held.live.values()
    assert extent >= arrays[0].nbytes
    assert rig.segment.map[offset : offset + 8] == arrays[0][:1].tobytes()


def test_views_held_after_the_run_end_at_what_remains(rig):
    rig.send(0, 1)
    first, second = rig.finish(rig.receiver.receive())
    remains = []
    del first  # dropped before the run was over, and never told
    rig.receiver.retire_to(remains)
    assert len(remains) == 1
    del second
    assert len(remains) == 2
    assert len(set(remains)) == 2


# -- in place ----------------------------------------------------------------------------------------------------------


def read_in_place(rig):
    (claim,) = rig.receiver.receive()
    (array,) = rig.receiver.read(claim, Access.INPLACE).items
    return array


def test_only_reader_gets_the_block_writable(rig):
    rig.send(1)
    array = read_in_place(rig)
    array[:] = 2
    assert array.flags.writeable
    assert rig.live_blocks == 1


def test_reader_of_a_block_that_another_message_carries_as_well_gets_a_copy(rig):
    rig.send(1)
    (claim,) = rig.receiver.receive()
    (array,) = rig.receiver.read(claim).items
    rig.outbox.placer.in_parent = True  # pass on a borrowed block: both messages then carry the same one
    for _ in range(2):
        rig.outbox.publish(Batch(0, 1, 1, 0, [array]))
    _, second = rig.receiver.receive()
    (copied,) = rig.receiver.read(second, Access.INPLACE).items
    copied[:] = 9
    assert values([array]) == [1]


# -- sockets -----------------------------------------------------------------------------------------------------------


def test_socket_pair_keeps_message_boundaries_and_does_not_block():
    one, other = socket_pair()
    with one, other:
        one.send(b"ab")
        one.send(b"cde")
        assert [other.recv(100), other.recv(100)] == [b"ab", b"cde"]
        with pytest.raises(BlockingIOError):
            other.recv(100)
        one.close()
        assert other.recv(100) == b""
