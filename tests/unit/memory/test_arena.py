"""The allocator: what is reserved is nobody else's, and comes back when its last view is gone."""

import threading

import pytest

from pardata.errors import CapacityError
from pardata.memory.arena import Arena, Span
from pardata.memory.array import find_anchor, view
from pardata.memory.budget import LIVE, RESERVED, Budget
from pardata.memory.gaps import size_class
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES

MB = 1_000_000


def addresses(blocks):
    return [block.offset for block in blocks]


@pytest.mark.parametrize(
    ("nbytes", "extent_bytes"),
    [
        (0, PAGE_BYTES),
        (1, PAGE_BYTES),
        (PAGE_BYTES, PAGE_BYTES),
        (PAGE_BYTES + 1, 2 * PAGE_BYTES),
        (100_000, 112 << 10),
        (1 << 20, 1 << 20),
        ((1 << 20) + 1, 1280 << 10),
        (HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES),
        (HUGE_PAGE_BYTES + 1, 2 * HUGE_PAGE_BYTES),
        (9 * HUGE_PAGE_BYTES, 10 * HUGE_PAGE_BYTES),
    ],
)
def test_size_classes_are_whole_pages_in_four_steps_per_power_of_two(nbytes, extent_bytes):
    assert size_class(nbytes) == extent_bytes


def test_block_is_writable_over_all_that_was_asked_for(arena):
    block = arena.reserve(10 * MB)
    block[:] = 255
    assert block.nbytes >= 10 * MB
    assert int(block.min()) == 255


def test_large_blocks_begin_at_huge_pages(arena):
    arena.reserve(PAGE_BYTES)
    small = arena.reserve(PAGE_BYTES)  # what comes next would not be aligned by itself
    large = arena.reserve(HUGE_PAGE_BYTES)
    assert large.offset % HUGE_PAGE_BYTES == 0
    assert small.offset % PAGE_BYTES == 0


def test_live_blocks_do_not_overlap(arena):
    blocks = [arena.reserve(nbytes) for nbytes in (1, 5000, 3 * MB, 1, HUGE_PAGE_BYTES, 70_000)]
    taken = sorted((block.offset, block.offset + block.extent_bytes) for block in blocks)
    assert all(end <= start for (_, end), (start, _) in zip(taken, taken[1:], strict=False))


def test_arena_stays_behind_its_control_area_and_within_its_span(segment):
    span = Span(1 << 30, 8 * HUGE_PAGE_BYTES)
    arena = Arena(segment, span, HUGE_PAGE_BYTES + 1, None, "worker")
    blocks = [arena.reserve(HUGE_PAGE_BYTES) for _ in range(6)]
    assert min(addresses(blocks)) == span.offset + 2 * HUGE_PAGE_BYTES
    assert max(addresses(blocks)) == span.offset + span.size_bytes - HUGE_PAGE_BYTES
    with pytest.raises(
        CapacityError, match="2097152 bytes do not fit.* 16777216 bytes of addresses, of which 12582912 are in use"
    ):
        arena.reserve(HUGE_PAGE_BYTES)


def test_block_returns_when_its_last_view_is_dropped(arena):
    block = arena.reserve(MB)
    array = view(block, 0, "f8", (1000,), None)
    part = array[10:20]
    extent = block.extent_bytes
    del block, array
    assert arena.statistics()["live_bytes"] == extent
    del part
    assert arena.statistics() == {"live_bytes": 0, "free_bytes": extent, "free_blocks": 1}


def test_warm_blocks_are_reused_the_last_one_first(arena):
    blocks = [arena.reserve(MB) for _ in range(3)]
    first, second, third = addresses(blocks)
    for index in (1, 0, 2):
        blocks[index] = None
    again = [arena.reserve(MB) for _ in range(3)]
    assert addresses(again) == [third, first, second]


def test_block_of_one_size_is_not_reused_for_another(arena):
    small = arena.reserve(MB)
    address = small.offset
    del small
    assert arena.reserve(5 * MB).offset != address


def test_trim_gives_free_pages_back_and_keeps_live_ones(arena, resident_bytes):
    blocks = [arena.reserve(4 * HUGE_PAGE_BYTES) for _ in range(3)]
    for block in blocks:
        block[:] = 1
    before = resident_bytes()
    kept = blocks.pop(1)
    del blocks, block
    arena.trim()
    assert resident_bytes() == before - 8 * HUGE_PAGE_BYTES
    assert int(kept.min()) == 1
    assert arena.statistics() == {"live_bytes": kept.extent_bytes, "free_bytes": 0, "free_blocks": 0}


def test_what_is_too_much_to_be_kept_goes_back_when_it_is_dropped(make_arena, resident_bytes):
    arena = make_arena(kept_bytes=2 * HUGE_PAGE_BYTES)
    empty = resident_bytes()
    blocks = [arena.reserve(size * HUGE_PAGE_BYTES) for size in (4, 1, 1, 8, 1)]
    for block in blocks:
        block[:] = 1
    del block
    assert resident_bytes() - empty == 15 * HUGE_PAGE_BYTES
    del blocks[0]  # as much as is in use may be kept
    assert resident_bytes() - empty == 15 * HUGE_PAGE_BYTES
    del blocks[2]  # it may not any more: the largest goes first
    assert resident_bytes() - empty == 3 * HUGE_PAGE_BYTES
    blocks.clear()
    assert resident_bytes() - empty == 2 * HUGE_PAGE_BYTES
    assert arena.statistics() == {"live_bytes": 0, "free_bytes": 2 * HUGE_PAGE_BYTES, "free_blocks": 2}


def test_what_is_dropped_while_the_arena_is_at_work_waits(make_arena):
    arena = make_arena(kept_bytes=0)
    block = [arena.reserve(PAGE_BYTES)]
    arena.before_growth = block.clear  # as a garbage collection in the middle of a call may do
    arena.reserve(HUGE_PAGE_BYTES)
    assert arena.statistics() == {"live_bytes": 0, "free_bytes": 0, "free_blocks": 0}


@pytest.mark.parametrize("nbytes", [1, PAGE_BYTES, 3 * MB])
def test_zeros_are_zeros_in_fresh_memory_and_in_used(make_arena, resident_bytes, nbytes):
    arena = make_arena()
    empty = resident_bytes()
    fresh = arena.reserve(nbytes, zeroed=True)
    assert resident_bytes() == empty
    assert not fresh[:nbytes].any()
    fresh[:] = 255
    place = fresh.offset
    del fresh
    used = arena.reserve(nbytes, zeroed=True)
    assert used.offset == place
    assert not used[:nbytes].any()


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (0, 2, 4, 1, 3, 5), (1, 3, 5, 0, 2, 4)])
def test_trimmed_neighbours_become_one_gap_again(make_arena, order):
    arena = make_arena(size_bytes=7 * HUGE_PAGE_BYTES)
    blocks = {index: arena.reserve(HUGE_PAGE_BYTES) for index in range(6)}
    for index in order:
        del blocks[index]
        arena.trim()
    assert arena.reserve(6 * HUGE_PAGE_BYTES).nbytes == 6 * HUGE_PAGE_BYTES


def test_successor_keeps_live_blocks_and_reuses_the_rest(make_arena, resident_bytes):
    dead = make_arena(size_bytes=9 * HUGE_PAGE_BYTES)
    blocks = [dead.reserve(2 * HUGE_PAGE_BYTES) for _ in range(4)]
    for value, block in enumerate(blocks, 1):
        block[:] = value
    out = blocks[1], blocks[3]
    live = [(block.offset, block.extent_bytes) for block in out]
    before = resident_bytes()

    arena = make_arena(size_bytes=9 * HUGE_PAGE_BYTES, live=[*live, live[0]])  # two leases of one block count once
    assert before - resident_bytes() == 4 * HUGE_PAGE_BYTES
    assert arena.statistics()["live_bytes"] == 4 * HUGE_PAGE_BYTES
    kept = [arena.adopt(*block) for block in live]
    new = [arena.reserve(2 * HUGE_PAGE_BYTES) for _ in range(2)]
    assert {*addresses(new), *addresses(kept)} == set(addresses(blocks))
    for block in new:
        block[:] = 99
    assert [int(block.min()) for block in kept] == [2, 4]
    with pytest.raises(CapacityError):
        arena.reserve(2 * HUGE_PAGE_BYTES)

    del kept[0]
    assert arena.reserve(2 * HUGE_PAGE_BYTES).offset == live[0][0]


def test_readers_are_asked_for_what_they_gave_back_before_the_arena_grows(arena):
    held = [arena.reserve(MB)]
    address = held[0].offset
    asked = []
    arena.before_growth = lambda: (asked.append(True), held.clear())
    assert arena.reserve(MB).offset == address
    assert asked == [True]


def test_readers_are_not_asked_while_a_warm_block_is_there(arena):
    address = arena.reserve(MB).offset
    arena.before_growth = lambda: pytest.fail("asked for nothing")
    assert arena.reserve(MB).offset == address


def test_threads_never_get_the_same_block(arena):
    """Each thread fills its blocks with its own number while the others reserve and drop theirs."""
    mixed_up = []
    start = threading.Barrier(4)

    def work(number):
        start.wait()
        for round_ in range(200):
            blocks = [arena.reserve(size) for size in (PAGE_BYTES, 20_000, PAGE_BYTES * (1 + round_ % 5))]
            for block in blocks:
                block[:] = number
            if any(int(block.min()) != number or int(block.max()) != number for block in blocks):
                mixed_up.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert mixed_up == []
    assert arena.statistics()["live_bytes"] == 0


def test_blocks_of_one_thread_may_be_dropped_by_others(arena):
    blocks = [arena.reserve(PAGE_BYTES) for _ in range(400)]
    views = [[block[index : index + 1] for block in blocks] for index in range(4)]
    taken = set(addresses(blocks))
    del blocks
    start = threading.Barrier(5)

    def drop(mine):
        start.wait()
        while mine:
            mine.pop()

    threads = [threading.Thread(target=drop, args=(mine,)) for mine in views]
    for thread in threads:
        thread.start()
    start.wait()
    fresh = [arena.reserve(PAGE_BYTES) for _ in range(100)]  # while they drop
    for thread in threads:
        thread.join()
    assert len(set(addresses(fresh))) == 100
    fresh += [arena.reserve(PAGE_BYTES) for _ in range(300)]
    assert len(set(addresses(fresh))) == 400
    assert len(taken & set(addresses(fresh))) >= 300
    del fresh
    assert arena.statistics()["live_bytes"] == 0


def test_anchor_is_found_through_every_view_of_a_block(arena):
    block = arena.reserve(MB)
    assert find_anchor(view(block, 0, "f8", (10, 10), None).T[1:]) is block
    assert find_anchor(block) is block
    assert find_anchor(block[3:]) is block


# -- the budget --------------------------------------------------------------------------------------------------------


def make_budget(segment, limit_bytes, *names):
    spans = [Span(index << 30, 1 << 30) for index in range(len(names))]
    return Budget(limit_bytes, [span.words(segment) for span in spans], names)


def test_what_passes_the_limit_is_refused_with_who_and_how_much(segment, make_arena):
    budget = make_budget(segment, 10 * HUGE_PAGE_BYTES, "stage 'read'", "stage 'sobel'")
    read, sobel = make_arena(0, budget, "stage 'read'"), make_arena(1, budget, "stage 'sobel'")
    held = [read.reserve(6 * HUGE_PAGE_BYTES), sobel.reserve(2 * HUGE_PAGE_BYTES)]
    with pytest.raises(CapacityError) as caught:
        sobel.reserve(4 * HUGE_PAGE_BYTES)
    message = str(caught.value)
    assert "stage 'sobel' needs 8.4 MB" in message
    assert "16.8 MB of the limit of 21.0 MB are in use" in message
    assert "stage 'read' 12.6 MB, stage 'sobel' 4.2 MB" in message
    assert "memory_limit=" in message
    assert isinstance(caught.value, MemoryError)

    before = sobel.statistics()
    assert before["live_bytes"] == 2 * HUGE_PAGE_BYTES
    held.append(sobel.reserve(2 * HUGE_PAGE_BYTES))  # nothing has changed: what fits still fits


def test_room_that_another_takes_meanwhile_is_waited_for(segment, make_arena, monkeypatch):
    budget = make_budget(segment, 4 * HUGE_PAGE_BYTES, "worker", "another")
    arena, other = make_arena(0, budget, "worker"), make_arena(1, budget, "another")
    allows, held, asked = Budget.allows, [], []

    def take_the_room_behind(self, nbytes):
        is_allowed = allows(self, nbytes)
        if not held:
            held.append(other.reserve(4 * HUGE_PAGE_BYTES))
        return is_allowed

    def let_go(nbytes):
        asked.append(nbytes)
        held.clear()
        return True

    arena.on_shortage = let_go
    monkeypatch.setattr(Budget, "allows", take_the_room_behind)
    assert arena.reserve(HUGE_PAGE_BYTES).nbytes == HUGE_PAGE_BYTES  # exact to one block per process
    held.append(None)
    assert arena.reserve(HUGE_PAGE_BYTES).nbytes == HUGE_PAGE_BYTES and asked == [HUGE_PAGE_BYTES]


def test_dropped_blocks_make_room_in_the_budget(segment, make_arena):
    arena = make_arena(0, make_budget(segment, 4 * HUGE_PAGE_BYTES, "worker"))
    for _ in range(3):
        block = arena.reserve(4 * HUGE_PAGE_BYTES)
        del block
    assert arena.reserve(2 * HUGE_PAGE_BYTES).nbytes == 2 * HUGE_PAGE_BYTES


def test_warm_blocks_are_given_back_before_the_limit_is_passed(segment, make_arena, resident_bytes):
    arena = make_arena(0, make_budget(segment, 4 * HUGE_PAGE_BYTES, "worker"))
    block = arena.reserve(4 * HUGE_PAGE_BYTES)
    block[:] = 1
    del block
    other = arena.reserve(2 * HUGE_PAGE_BYTES)
    other[:] = 1
    assert resident_bytes() <= 2 * HUGE_PAGE_BYTES + HUGE_PAGE_BYTES  # and the header


def test_words_of_the_header_tell_what_is_live_and_what_is_reserved(segment, arena):
    words = arena.span.words(segment)
    kept, dropped = arena.reserve(MB), arena.reserve(MB)
    del dropped
    arena.collect()
    assert words[LIVE] == kept.extent_bytes
    assert words[RESERVED] == 2 * kept.extent_bytes


def test_all_owners_together_stay_within_the_limit(segment, make_arena):
    budget = make_budget(segment, 10 * HUGE_PAGE_BYTES, "first", "second")
    first, second = make_arena(0, budget, "first"), make_arena(1, budget, "second")
    warm = [first.reserve(5 * HUGE_PAGE_BYTES) for _ in range(2)]
    warm.clear()
    first.collect()
    held = [second.reserve(5 * HUGE_PAGE_BYTES) for _ in range(2)]
    with pytest.raises(CapacityError):
        held += [first.reserve(5 * HUGE_PAGE_BYTES) for _ in range(2)]
    assert budget.live_bytes() <= budget.limit_bytes
