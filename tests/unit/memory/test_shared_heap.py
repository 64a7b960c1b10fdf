"""The spans of a process, and the arrays that its user makes."""

import gc
import threading

import numpy as np
import pytest

import pardata
from pardata.errors import CapacityError, ConfigError
from pardata.memory.arena import Span
from pardata.memory.array import anchor, find_anchor
from pardata.memory.retained_blocks import RetainedBlocks
from pardata.memory.segment import HUGE_PAGE_BYTES
from pardata.memory.shared_heap import SPANS
from pardata.memory.shared_heap import shared_heap as home_of_the_process

# -- spans -------------------------------------------------------------------------------------------------------------


def word_at(shared_heap, offset):
    return shared_heap.segment.map[offset]


def test_taken_spans_are_disjoint_and_not_the_arenas(shared_heap):
    spans = [shared_heap.take_span() for _ in range(20)]
    assert len({span.offset for span in spans}) == 20
    assert {span.size_bytes for span in spans} == {shared_heap.span_bytes}
    assert min(span.offset for span in spans) >= shared_heap.arena.span.offset + shared_heap.arena.span.size_bytes
    assert shared_heap.spans_in_use == 20


def test_returned_span_is_taken_again_and_is_all_zeros(shared_heap):
    span = shared_heap.take_span()
    shared_heap.segment.map[span.offset] = shared_heap.segment.map[span.offset + span.size_bytes - 1] = 1
    shared_heap.return_spans([span])
    assert shared_heap.spans_in_use == 0
    again = shared_heap.take_span()
    assert again == span
    assert word_at(shared_heap, span.offset) == word_at(shared_heap, span.offset + span.size_bytes - 1) == 0


def test_error_when_no_span_is_left_says_what_to_do(shared_heap):
    spans = [shared_heap.take_span() for _ in range(SPANS - 8)]
    with pytest.raises(CapacityError, match=f"at most {len(spans)} workers .* close runs and pools"):
        shared_heap.take_span()
    shared_heap.return_spans(spans[:1])
    assert shared_heap.take_span() == spans[0]


# -- what remains of a run that is over --------------------------------------------------------------------------------

BLOCK = HUGE_PAGE_BYTES


@pytest.fixture
def run_that_is_over(shared_heap):
    """Make a span with `count` blocks full of ones, with a gap before each, and what remains of it."""

    def make(leases_per_block):
        span = shared_heap.take_span()
        blocks = [(span.offset + (2 * index + 1) * BLOCK, BLOCK) for index in range(len(leases_per_block))]
        np.frombuffer(shared_heap.segment.map, np.uint8, 2 * len(blocks) * BLOCK, span.offset)[:] = 1
        live = [((index, n), *blocks[index]) for index, count in enumerate(leases_per_block) for n in range(count)]
        return span, blocks, RetainedBlocks(shared_heap, [span], live)

    return make


def test_what_nobody_keeps_is_given_back_at_once(shared_heap, run_that_is_over):
    _, blocks, _ = run_that_is_over([1, 1])
    assert [word_at(shared_heap, offset) for offset, _ in blocks] == [1, 1]
    assert [word_at(shared_heap, offset - 1) for offset, _ in blocks] == [0, 0]
    assert word_at(shared_heap, blocks[1][0] + BLOCK) == 0


def test_run_of_which_nothing_is_kept_returns_its_spans_at_once(shared_heap):
    spans = [shared_heap.take_span() for _ in range(3)]
    RetainedBlocks(shared_heap, spans, [])
    assert shared_heap.spans_in_use == 0


def test_blocks_are_given_back_one_by_one_and_the_spans_with_the_last(shared_heap, run_that_is_over):
    _, blocks, remains = run_that_is_over([1, 2])
    remains.append((1, 0))
    assert [word_at(shared_heap, offset) for offset, _ in blocks] == [1, 1]  # somebody else reads it
    remains.append((1, 1))
    assert [word_at(shared_heap, offset) for offset, _ in blocks] == [1, 0]
    assert shared_heap.spans_in_use == 1
    remains.append((0, 0))
    assert [word_at(shared_heap, offset) for offset, _ in blocks] == [0, 0]
    assert shared_heap.spans_in_use == 0


def test_lease_that_ends_twice_counts_once(shared_heap, run_that_is_over):
    _, blocks, remains = run_that_is_over([2])
    remains.append((0, 0))
    remains.append((0, 0))
    assert word_at(shared_heap, blocks[0][0]) == 1
    assert shared_heap.spans_in_use == 1


def test_arrays_of_several_spans_return_them_together(shared_heap):
    first, second = shared_heap.take_span(), shared_heap.take_span()
    remains = RetainedBlocks(shared_heap, [first, second], [("a", second.offset + BLOCK, BLOCK)])
    assert shared_heap.spans_in_use == 2
    remains.append("a")
    assert shared_heap.spans_in_use == 0


def test_views_end_at_what_remains(shared_heap, run_that_is_over):
    _, blocks, remains = run_that_is_over([1])
    kept = anchor(shared_heap.segment.map, *blocks[0], remains, (0, 0))[5:10]
    assert int(kept.sum()) == 5
    del kept
    assert shared_heap.spans_in_use == 0


def test_span_is_returned_once_when_a_lease_ends_within_the_end_of_another(shared_heap, run_that_is_over, monkeypatch):
    """As when the garbage collector runs within `append`, or a signal handler drops an array."""
    _, _, remains = run_that_is_over([1, 1])
    punch = shared_heap.segment.punch

    def punch_and_end_another(*block):
        monkeypatch.setattr(shared_heap.segment, "punch", punch)
        remains.append((1, 0))
        punch(*block)

    monkeypatch.setattr(shared_heap.segment, "punch", punch_and_end_another)
    remains.append((0, 0))
    assert shared_heap.spans_in_use == 0


def test_pages_are_not_given_back_when_they_are_somebody_elses_already(shared_heap, run_that_is_over, monkeypatch):
    """One thread ends a lease; before it goes on, another one ends the last lease, and a run is started."""
    span, _, remains = run_that_is_over([1, 1])
    punch = shared_heap.segment.punch

    def others_come_first(*block):
        monkeypatch.setattr(shared_heap.segment, "punch", punch)
        other.start()
        other.join(timeout=0.5)  # or it waits until the first is done: as good
        taken.append(shared_heap.take_span())
        shared_heap.segment.map[block[0]] = 7
        punch(*block)

    taken = []
    other = threading.Thread(target=remains.append, args=((1, 0),))
    monkeypatch.setattr(shared_heap.segment, "punch", others_come_first)
    remains.append((0, 0))
    other.join()
    (new,) = taken
    if new == span:
        assert word_at(shared_heap, span.offset + BLOCK) == 7


@pytest.mark.parametrize("is_dropped_by_its_owner", [False, True])
def test_block_of_the_main_process_stays_when_a_run_has_handed_it_through(shared_heap, is_dropped_by_its_owner):
    """The consumer of a run holds a lease of a block that does not lie in the run's spans."""
    own = shared_heap.arena.reserve(BLOCK)
    own[:] = 1
    place = own.offset, own.extent_bytes
    remains = RetainedBlocks(shared_heap, [shared_heap.take_span()], [("lease", *place)], lent=[own])
    received = anchor(shared_heap.segment.map, *place, remains, "lease")
    if is_dropped_by_its_owner:
        del own
        assert shared_heap.arena.reserve(BLOCK).offset != place[0]
    view = received[:]
    del received
    assert int(view.min()) == 1
    del view
    assert shared_heap.spans_in_use == 0
    if not is_dropped_by_its_owner:
        assert int(own.min()) == 1
    else:
        assert shared_heap.arena.statistics()["live_bytes"] == 0


def test_block_at_the_very_end_of_the_segment_may_remain(shared_heap):
    spans = [shared_heap.take_span() for _ in range(SPANS - 8)]
    last = max(spans, key=lambda span: span.offset)
    remains = RetainedBlocks(shared_heap, [last], [("lease", last.offset + last.size_bytes - BLOCK, BLOCK)])
    remains.append("lease")
    assert shared_heap.spans_in_use == SPANS - 9


# -- arrays of the user ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), 5, np.int64(5), (5,), (2, 3, 4), [2, 3], (0, 3), 0])
def test_empty_has_the_shape_asked_for_and_is_writable(shape):
    made = pardata.empty(shape)
    expected = np.empty(shape)
    assert (made.shape, made.dtype, type(made)) == (expected.shape, expected.dtype, pardata.SharedArray)
    assert made.flags.writeable and made.flags.c_contiguous and made.flags.aligned
    made[...] = 3
    assert (made == 3).all()


DTYPES = [
    "f8",
    "f4",
    "f2",
    "c8",
    "i1",
    ">i4",
    "?",
    "U5",
    "S3",
    "M8[us]",
    "m8[D]",
    "V8",
    [("a", "f4"), ("b", "U2", (3,))],
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zeros_equals_that_of_numpy_also_over_used_memory(dtype):
    warm = pardata.empty((3, 4), dtype)
    warm.view(np.uint8)[:] = 255
    del warm
    made, expected = pardata.zeros((3, 4), dtype), np.zeros((3, 4), dtype)
    assert made.dtype == expected.dtype
    assert made.tobytes() == expected.tobytes()


@pytest.mark.parametrize("values", [[1, 2, 3], 4.5, np.eye(3)[::2].T, np.array(["a", "bcd"]), range(3)], ids=repr)
def test_array_is_an_equal_copy_in_shared_memory(values):
    made = pardata.array(values)
    assert np.array_equal(made, np.asarray(values))
    assert made.dtype == np.asarray(values).dtype
    assert find_anchor(made) is not None
    assert not np.may_share_memory(made, np.asarray(values))


def test_array_converts_to_the_dtype_asked_for():
    assert pardata.array([1, 2], "f4").dtype == np.float32


@pytest.mark.parametrize("dtype", [object, [("a", "f4"), ("b", "O")]], ids=str)
def test_object_dtypes_are_refused_before_memory_is_taken(dtype):
    arena = home_of_the_process().arena
    before = arena.statistics()
    with pytest.raises(ConfigError, match="holds Python objects or pointers: it cannot be shared"):
        pardata.empty(3, dtype)
    assert arena.statistics() == before


def test_array_of_objects_is_refused():
    with pytest.raises(ConfigError):
        pardata.array([object()])


@pytest.mark.parametrize("shape", [-1, -3, (2, -3), (-1, 0)])
def test_negative_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="negative"):
        pardata.empty(shape)


def test_memory_returns_when_the_last_view_of_an_array_is_gone():
    gc.collect()
    arena = home_of_the_process().arena
    before = arena.statistics()["live_bytes"]
    column = pardata.zeros((1000, 1000))[:, 5]
    assert arena.statistics()["live_bytes"] >= before + 8_000_000
    del column
    assert arena.statistics()["live_bytes"] == before


def test_memory_of_large_arrays_goes_back_to_the_system_at_once():
    arena = home_of_the_process().arena
    arrays = [pardata.zeros(160 << 20, "u1") for _ in range(3)]
    used = sum(arena.statistics()[kind] for kind in ("live_bytes", "free_bytes"))
    del arrays
    assert arena.statistics()["free_bytes"] <= 256 << 20
    assert used - sum(arena.statistics()[kind] for kind in ("live_bytes", "free_bytes")) >= 224 << 20


def test_more_than_there_is_address_space_is_an_error_with_numbers():
    with pytest.raises(CapacityError, match=r"the main process: [0-9]+ bytes do not fit: .* bytes of addresses"):
        pardata.empty(1 << 60, "u1")


def test_span_knows_its_words(segment):
    span = Span(8 * HUGE_PAGE_BYTES, HUGE_PAGE_BYTES)
    words = span.words(segment, 64, 4)
    words[1] = -5
    assert len(words) == 4
    assert segment.map[span.offset + 64 + 8 : span.offset + 64 + 16] == (-5).to_bytes(8, "little", signed=True)
