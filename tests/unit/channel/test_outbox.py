"""What leaves a process: without a copy where nobody can change it any more, with one everywhere else."""

import contextlib

import numpy as np
import pytest

from pardata.channel.channel import FARM_WINDOW, ChannelSpec, socket_pair
from pardata.channel.leases import TABLE_BYTES, Lease, LeaseTable
from pardata.channel.outbox import EdgeSenders, Outbox
from pardata.channel.receiver import Receiver
from pardata.channel.sender import Sender
from pardata.codec.access import Access
from pardata.codec.batch_codec import Batch
from pardata.codec.object_codec import PACKED_BYTES
from pardata.errors import CapacityError
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.array import anchor, find_anchor, view

LARGE = 4096
SLOTS = 4
ALONE = 4  # messages of a worker that is the only one in use
CHANNEL_BYTES = ChannelSpec.sender_bytes(SLOTS) + 4096


@pytest.fixture
def make_outbox(segment):
    """Make an outbox with edges to farms of these sizes; ``outbox.receivers`` are the other ends, edge by edge."""
    socks = []

    def make(*farms, in_parent=False, writers=Access.INPLACE):
        span = Span(1 << 30, 1 << 30)
        at = span.offset + HEADER_BYTES + TABLE_BYTES
        header = span.words(segment)
        table = LeaseTable(span.words(segment, HEADER_BYTES, TABLE_BYTES // 8), header)
        arena = Arena(segment, span, at + 20 * CHANNEL_BYTES - span.offset, None, "worker")
        edges, receivers, index = [], [], 0
        for workers in farms:
            edge, ends = [], []
            for _ in range(workers):
                rests_at = span.offset + 8 * (32 + index)  # words of the header that nobody uses here
                spec = ChannelSpec(
                    SLOTS, at + index * CHANNEL_BYTES, HEADER_BYTES + index * 4096, None, FARM_WINDOW, ALONE, rests_at
                )
                ours, theirs = socket_pair()
                socks.extend((ours, theirs))
                edge.append(Sender(spec, ours, segment, table, index, header))
                ends.append(Receiver(spec, theirs, segment, 0))
                index += 1
            edges.append(EdgeSenders(edge))
            receivers.append(ends)
        outbox = Outbox(arena, table, edges, in_parent, writers)
        outbox.receivers = receivers
        return outbox

    yield make
    for sock in socks:
        sock.close()


@pytest.fixture
def outbox(make_outbox):
    return make_outbox(1)


def new_array(outbox, shape=(LARGE,), value=1.0):
    """What `pardata.empty` gives inside a stage."""
    array = view(outbox.arena.reserve(8 * int(np.prod(shape))), 0, "f8", shape, None)
    array[:] = value
    return array


def borrowed(outbox, value=1.0):
    """What a stage gets: a read-only array whose block belongs to another process."""
    block = anchor(outbox.arena.segment.map, 4 << 30, 8 * LARGE, [], Lease(0, 5, 6))
    array = view(block, 0, "f8", (LARGE,), None)
    array[:] = value
    array.setflags(write=False)
    return array


def publish(outbox, items, number=0):
    """Publish items, which nobody else is to hold: `items` is emptied."""
    batch = Batch(0, number, 1, 0, items)
    outbox.publish(batch)
    batch.items.clear()


def receive(outbox, edge=0, worker=0, inplace=False):
    """Return the items of the next message on a channel."""
    receiver = outbox.receivers[edge][worker]
    (claim,) = receiver.receive()
    items = receiver.read(claim, Access(inplace)).items
    receiver.commit(claim)
    return items


def is_in_place(array):
    return find_anchor(array) is not None


def address(array):
    return array.__array_interface__["data"][0]


# -- what is copied, and what is not -----------------------------------------------------------------------------------


def test_new_array_in_shared_memory_is_not_copied_and_its_reader_may_change_it(outbox):
    items = [new_array(outbox)]
    where = address(items[0])
    publish(outbox, items)
    (received,) = receive(outbox, inplace=True)
    assert address(received) == where
    assert received.flags.writeable


def test_what_receivers_have_told_makes_room_though_nobody_has_read_it(outbox):
    for number in range(SLOTS):
        publish(outbox, [number], number)
    (receiver,) = outbox.receivers[0]
    for claim in receiver.receive():
        receiver.commit(claim)
    receiver.flush()
    publish(outbox, [SLOTS], SLOTS)
    assert receive(outbox) == [SLOTS]


def test_array_elsewhere_is_copied_once_into_a_block(outbox):
    sent = np.ones(LARGE)
    publish(outbox, [sent])
    sent[:] = 2
    (received,) = receive(outbox)
    assert (received == 1).all()
    assert outbox.arena.statistics()["live_bytes"] == 8 * LARGE


def test_received_array_is_passed_on_without_a_copy(outbox):
    items = [borrowed(outbox)]
    where = address(items[0])
    publish(outbox, items)
    (received,) = receive(outbox)
    assert address(received) == where
    assert outbox.arena.statistics()["live_bytes"] == 0


@pytest.mark.parametrize(
    "part",
    [lambda a: a[5:9], lambda a: a[::-1], lambda a: a.reshape(-1, 2).T, lambda a: a[::4], lambda a: a.view("i4")],
)
def test_view_of_a_received_array_arrives_as_it_was(outbox, part):
    whole = borrowed(outbox)
    whole.base[:] = np.arange(LARGE).view("u1")
    sent = part(whole)
    publish(outbox, [[sent, np.ones(LARGE)]])
    assert np.array_equal(receive(outbox)[0][0], sent)


WRAPS = {"bare": lambda array: array, "in a tuple": lambda array: (array, 1), "in a dict": lambda array: {"k": [array]}}


def unwrap(item):
    return item if isinstance(item, np.ndarray) else item[0] if isinstance(item, tuple) else item["k"][0]


wrapped = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)


def reader_changes(outbox):
    """Have the reader of the next message change its array."""
    received = unwrap(receive(outbox, inplace=True)[0])
    received[:] = 7


@wrapped
def test_new_array_of_the_user_who_keeps_it_is_not_changed_by_its_reader(outbox, wrap):
    kept = new_array(outbox)
    publish(outbox, [wrap(kept)])
    reader_changes(outbox)
    assert (kept == 1).all()


@wrapped
def test_received_array_of_the_user_who_keeps_it_is_not_changed_by_its_reader(outbox, wrap):
    kept = borrowed(outbox)
    publish(outbox, [wrap(kept)])
    reader_changes(outbox)
    assert (kept == 1).all()


@wrapped
def test_read_only_array_of_the_user_is_not_changed_by_its_reader(make_outbox, wrap):
    outbox = make_outbox(1, in_parent=True)
    kept = new_array(outbox)
    kept.setflags(write=False)
    publish(outbox, [wrap(kept)])
    reader_changes(outbox)
    assert (kept == 1).all()


def kept_itself(array):
    return array, array


def kept_view(array):
    return array, array[: array.size // 2]


def kept_whole(array):
    return array[: array.size // 2], array


def kept_sibling(array):
    return array[array.size // 2 :], array[: array.size // 2 + 8]


def kept_memoryview(array):
    return array, np.frombuffer(memoryview(array), "f8")


def kept_with_its_view(array):
    return array, [array, array[5:]][1]


SPLITS = [kept_itself, kept_view, kept_whole, kept_sibling, kept_memoryview, kept_with_its_view]


@pytest.mark.parametrize("writers", Access)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("wrap", list(WRAPS))
def test_what_user_code_can_still_write_to_is_not_what_was_sent(make_outbox, writers, wrap, split):
    """As with a buffer that is kept from item to item, of which all or a part is returned."""
    outbox = make_outbox(1, writers=writers)
    sent, kept = split(new_array(outbox))
    publish(outbox, [WRAPS[wrap](sent)])
    del sent
    with contextlib.suppress(ValueError):  # read-only now: as good
        kept[:] = 3
    received = unwrap(receive(outbox)[0])
    assert (received == 1).all()


@pytest.mark.parametrize("split", [kept_itself, kept_view, kept_whole, kept_sibling])
@pytest.mark.parametrize("index", range(4))
def test_what_user_code_keeps_of_one_of_several_items_is_not_what_was_sent(outbox, index, split):
    items = [new_array(outbox, (2 * PACKED_BYTES // 8,)) for _ in range(4)]
    sent, kept = split(items[index])
    items[index] = sent
    del sent
    places = [address(item) for item in items]
    publish(outbox, items)
    kept[:] = 3
    received = receive(outbox)
    assert all((item == 1).all() for item in received)
    assert [address(item) == place for item, place in zip(received, places, strict=True)] == [
        number != index for number in range(4)
    ]


def lent(outbox, count):
    """What an `inplace=True` stage gets of a message of several arrays: they lie in one block."""
    block = anchor(outbox.arena.segment.map, 4 << 30, 8 * LARGE * count, [], Lease(0, 5, 6))
    block.claimed = True
    items = [view(block, 8 * LARGE * index, "f8", (LARGE,), None) for index in range(count)]
    for item in items:
        item[:] = 1
    return items, [block]


@pytest.mark.parametrize("split", [kept_itself, kept_view, kept_whole, kept_sibling])
@pytest.mark.parametrize("index", range(4))
def test_what_user_code_keeps_of_arrays_in_one_block_is_not_what_was_sent(outbox, index, split):
    items, claims = lent(outbox, 4)
    sent, kept = split(items[index])
    items[index] = sent
    del sent
    publish(outbox, items)
    with contextlib.suppress(ValueError):
        kept[:] = 3
    assert all((item == 1).all() for item in receive(outbox))
    claims.clear()


@pytest.mark.parametrize("rest", [[0, 1, 2, 3], [3, 1, 0], [1, 2]])
def test_arrays_that_came_in_one_block_are_passed_on_in_it_to_be_changed(outbox, rest):
    items, claims = lent(outbox, 4)
    items = [items[index] for index in rest]
    places = [address(item) for item in items]
    publish(outbox, items)
    received = receive(outbox, inplace=True)
    assert [address(item) for item in received] == places
    assert all(item.flags.writeable for item in received)
    assert len(outbox.leases) == 1
    claims.clear()


def test_one_of_many_arrays_of_a_block_does_not_keep_it(outbox):
    items, claims = lent(outbox, 4)
    items = items[2:3]
    place = address(items[0])
    publish(outbox, items)
    (received,) = receive(outbox, inplace=True)
    assert (received == 1).all() and address(received) != place
    claims.clear()


@pytest.mark.parametrize("is_shared", [False, True])
def test_caller_that_keeps_much_does_not_keep_blocks_for_parts_of_them(make_outbox, monkeypatch, is_shared):
    outbox = make_outbox(*[1] * (1 + is_shared), writers=Access.RESULT)
    monkeypatch.setattr("pardata.channel.receiver._MANY", 1)
    kept = []
    for number in range(3):
        publish(outbox, [np.full(LARGE, number + index) for index in range(4)], number)
        kept.append(receive(outbox, inplace=Access.RESULT))
    assert [[is_in_place(item) for item in items] for items in kept] == [[True] * 4] * 2 + [[False] * 4]
    assert all((item == number + index).all() for number, items in enumerate(kept) for index, item in enumerate(items))
    assert all(item.flags.writeable is not is_shared for items in kept for item in items)


@pytest.mark.parametrize("wrap", list(WRAPS))
def test_small_arrays_of_a_message_lie_beside_each_other_in_one_block(outbox, wrap):
    items = [WRAPS[wrap](np.full(LARGE + index, index)[:: 1 + index % 2]) for index in range(5)]
    publish(outbox, items)
    assert len(outbox.leases) == 1
    received = [unwrap(item) for item in receive(outbox)]
    assert all((item == index).all() and not address(item) % 64 for index, item in enumerate(received))
    assert [item.size for item in received] == [len(range(0, LARGE + index, 1 + index % 2)) for index in range(5)]


@pytest.mark.parametrize("is_claimed", [False, True])
def test_block_that_user_code_keeps_from_an_earlier_message_is_not_what_was_sent(outbox, is_claimed):
    """A message that is not finished refers to its blocks; one that is finished does not."""
    items = [borrowed(outbox)]
    kept = items[0].base
    kept.claimed = is_claimed
    claims = [kept] * is_claimed
    items[0].setflags(write=True)  # as an `inplace=True` stage has it
    publish(outbox, items)
    kept[:] = 3
    received = receive(outbox)
    assert (received[0] == 1).all()
    del claims


def test_received_array_whose_message_is_not_finished_is_passed_on_to_be_changed(outbox):
    items = [borrowed(outbox)]
    items[0].base.claimed = True
    claims = [items[0].base]
    items[0].setflags(write=True)
    where = address(items[0])
    publish(outbox, items)
    received = receive(outbox, inplace=True)
    assert address(received[0]) == where and received[0].flags.writeable
    claims.clear()


def yields_a_local(outbox):
    array = new_array(outbox)
    yield array


def yields_from_a_list(outbox):
    arrays = [new_array(outbox)]
    yield arrays[0]


@pytest.mark.parametrize(("function", "is_copied"), [(yields_a_local, False), (yields_from_a_list, True)])
def test_array_in_a_variable_of_a_generator_that_has_just_yielded_it_is_not_copied(outbox, function, is_copied):
    outbox.placer.generator = generator = function(outbox)
    items = [next(generator)]
    where = address(items[0])
    publish(outbox, items)
    (received,) = receive(outbox, inplace=True)
    assert (address(received) != where) is is_copied


def test_array_that_was_given_away_is_not_sent_again(outbox):
    """Its first reader may have changed it by now."""

    def yields_again():
        array = new_array(outbox)
        while True:
            yield array

    outbox.placer.generator = generator = yields_again()
    publish(outbox, [next(generator)], 0)
    with pytest.raises(ValueError, match="was handed on before"):
        publish(outbox, [next(generator)], 1)


def test_received_array_may_be_sent_again_and_again_where_nobody_changes_it(make_outbox):
    outbox = make_outbox(1, writers=Access.READ)
    kept = borrowed(outbox)
    for number in range(3):
        publish(outbox, [kept], number)
        assert address(receive(outbox)[0]) == address(kept)


def test_new_array_besides_an_object_that_travels_by_value_is_sent(outbox):
    items = [(new_array(outbox), lambda x: x + 1)]
    publish(outbox, items)
    array, add = receive(outbox, inplace=True)[0]
    assert (add(array) == 2).all()


def test_two_readers_get_the_same_block_and_copies_to_change(make_outbox):
    outbox = make_outbox(1, 1)
    items = [new_array(outbox)]
    where = address(items[0])
    publish(outbox, items)
    (one,) = receive(outbox, 0)
    (other,) = receive(outbox, 1, inplace=True)
    assert address(one) == where
    other[:] = 9
    assert (one == 1).all()


def test_block_that_came_from_a_fan_out_stays_read_only_behind_the_next_stage(outbox):
    item = borrowed(outbox)
    find_anchor(item).shared = True
    items = [item]
    publish(outbox, items)
    (received,) = receive(outbox, inplace=True)
    received[:] = 9
    assert (item == 1).all()


def test_block_of_another_process_that_is_not_on_lease_is_copied(outbox):
    """Its worker could not tell a successor where the block came from: an array that a function has captured."""
    block = anchor(outbox.arena.segment.map, 4 << 30, 8 * LARGE, [], None)
    array = view(block, 0, "f8", (LARGE,), None)
    array[:] = 1
    publish(outbox, [array])
    (received,) = receive(outbox)
    assert address(received) != address(array)


def test_main_process_passes_on_whatever_lies_in_the_segment(make_outbox):
    outbox = make_outbox(1, in_parent=True)
    block = anchor(outbox.arena.segment.map, 4 << 30, 8 * LARGE, [], None)
    items = [view(block, 0, "f8", (LARGE,), None)]
    where = address(items[0])
    del block
    publish(outbox, items)
    (received,) = receive(outbox)
    assert address(received) == where


# -- edges and farms ---------------------------------------------------------------------------------------------------


def test_farm_gives_the_next_batch_to_the_least_busy_worker(make_outbox):
    outbox = make_outbox(3)
    for number in range(3 * FARM_WINDOW):
        assert outbox.has_room
        publish(outbox, [number], number)
    assert not outbox.has_room
    claims = [[claim.number for claim in receiver.receive()] for receiver in outbox.receivers[0]]
    assert sorted(number for mine in claims for number in mine) == list(range(6))
    assert [len(mine) for mine in claims] == [FARM_WINDOW] * 3


def test_worker_of_a_farm_that_has_finished_gets_the_next_batch(make_outbox):
    outbox = make_outbox(2)
    for number in range(4):
        publish(outbox, [number], number)
    free = outbox.receivers[0][1]
    (claim, _) = free.receive()
    free.read(claim)
    free.commit(claim)
    free.flush()
    outbox.edges[0].senders[1].receive()
    assert outbox.has_room
    publish(outbox, [4], 4)
    assert [claim.number for claim in free.receive()] == [4]


def test_a_worker_that_rests_gets_no_batches(make_outbox):
    outbox = make_outbox(2)
    resting, at_work = outbox.edges[0].senders
    publish(outbox, [0], 0)
    resting.rests[0] = 1
    publish(outbox, [1], 1)
    publish(outbox, [2], 2)
    assert not outbox.has_room
    assert [sender.slots.outstanding for sender in (resting, at_work)] == [1, 2]
    resting.rests[0] = 0
    assert outbox.has_room


def test_a_worker_that_is_alone_has_more_messages_of_several_items(make_outbox):
    outbox = make_outbox(2)
    first, resting = outbox.edges[0].senders
    resting.rests[0] = 1
    for number in range(0, 2 * ALONE, 2):
        batch = Batch(0, number, 2, 0, [number, number + 1])
        assert outbox.has_room_for(batch)
        outbox.publish(batch)
    assert first.slots.outstanding == ALONE
    assert not outbox.has_room_for(Batch(0, 2 * ALONE, 2, 0, [1, 2]))
    resting.rests[0] = 0
    assert outbox.has_room_for(Batch(0, 2 * ALONE, 2, 0, [1, 2]))


def test_a_worker_may_be_told_to_rest_just_before_it_gets_a_batch(make_outbox):
    outbox = make_outbox(2)
    resting, at_work = outbox.edges[0].senders
    for number in range(3):
        publish(outbox, [number], number)
    assert outbox.has_room
    packets = outbox.pack(Batch(0, 3, 1, 0, [3]))
    resting.rests[0] = 1
    outbox.send(packets)
    assert [sender.slots.outstanding for sender in (resting, at_work)] in ([2, 2], [1, 3])


def test_all_edges_get_every_batch(make_outbox):
    outbox = make_outbox(1, 2, 1)
    publish(outbox, ["x"], 7)
    assert receive(outbox, 0) == receive(outbox, 1) == receive(outbox, 2) == ["x"]


def test_successor_knows_whether_a_batch_was_published(make_outbox):
    dead = make_outbox(2, 1)
    publish(dead, ["x"], 3)
    publish(dead, ["y"], 4)
    edges = [
        EdgeSenders(
            [
                Sender(sender.spec, sender.sock, dead.arena.segment, dead.leases, sender.index, sender.slots._header)
                for sender in edge.senders
            ]
        )
        for edge in dead.edges
    ]
    successor = Outbox(dead.arena, dead.leases, edges)
    assert successor.has_published(0, 4)
    assert not successor.has_published(1, 4)
    assert not successor.has_published(0, 5)


def test_every_worker_hears_the_end(make_outbox):
    outbox = make_outbox(2, 1)
    outbox.close()
    assert all(receiver.at_end for edge in outbox.receivers for receiver in edge)


def test_sent_bytes_count_arrays_and_messages(outbox):
    publish(outbox, [np.ones(LARGE)])
    large = outbox.placer.sent_bytes
    assert 8 * LARGE <= large < 8 * LARGE + 1000
    publish(outbox, [b"x" * 1000])
    assert 1000 <= outbox.placer.sent_bytes - large < 2000


def test_full_lease_table_is_an_error_that_says_what_to_do(make_outbox, monkeypatch):
    monkeypatch.setattr(LeaseTable, "room", 1)
    outbox = make_outbox(1)
    with pytest.raises(CapacityError, match="held by their consumers: keep copies"):
        publish(outbox, [np.ones(LARGE)])
    assert outbox.arena.statistics()["live_bytes"] == 0
    assert outbox.edges[0].senders[0].slots.outstanding == 0


def test_each_edge_has_a_lease_of_the_block_for_what_does_not_fit_into_a_slot(make_outbox, monkeypatch):
    monkeypatch.setattr(LeaseTable, "room", 1)
    outbox = make_outbox(1, 1)
    with pytest.raises(CapacityError, match="held by their consumers: keep copies"):
        publish(outbox, [b"x" * 100_000])
    assert outbox.edges[0].senders[0].slots.outstanding == 0
