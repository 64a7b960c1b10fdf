"""Large arrays that functions have captured are copied again when they have changed, and only then."""

from __future__ import annotations

import gc
import sys
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pardata
from pardata.codec.code import encode_code
from pardata.memory import layout as layouts
from pardata.memory.shared_heap import shared_heap
from pardata.runtime import captured_arrays
from pardata.runtime.captured_arrays import CapturedArrays
from pardata.runtime.wiring import HeapSink

LAYOUTS = {
    "C": lambda array: array,
    "Fortran": np.asfortranarray,
    "every second": lambda array: np.repeat(array, 2, axis=0)[::2],
    "axes in another order": lambda array: array.reshape(20, 10, 300).transpose(1, 2, 0),
    "a window that slides": lambda array: np.lib.stride_tricks.sliding_window_view(array, 9, axis=1, writeable=True),
    "backwards": lambda array: array[::-1],
    "bytes": lambda array: array.astype("u1")[:, :-1],
    "times": lambda array: array.astype("M8[s]"),
    "complex": lambda array: array.astype(complex),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_has_a_copy_until_it_changes(layout):
    array = LAYOUTS[layout](np.arange(60_000.0).reshape(200, 300))
    copies = CapturedArrays()
    assert copies.find(array) is None
    copy = layouts.copy(array)
    copies.keep(array, copy)
    assert copies.find(array) is copy
    assert copies.find(array.copy()) is None  # an equal one is another one
    array[-1, -1] = array[0, 0] + np.array(1).astype(array.dtype if array.dtype.kind != "M" else "m8[s]")
    assert copies.find(array) is None


def test_what_is_not_a_number_is_equal_to_itself():
    array, copies = np.full(100_000, np.nan), CapturedArrays()
    copies.keep(array, array.copy())
    assert copies.find(array) is not None


def test_another_shape_or_type_is_a_change():
    array, copies = np.zeros((100, 200)), CapturedArrays()
    copies.keep(array, array.copy())
    seen = np.ndarray.view(array)
    copies.keep(seen, array.copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # NumPy 2.5 lets it be done, and advises against it
        seen.dtype = np.int64
    assert copies.find(seen) is None and copies.find(array) is not None


def test_a_copy_goes_with_its_array_and_with_all():
    copies = CapturedArrays()
    arrays = [np.zeros(9), np.ones(9)]
    made = [array.copy() for array in arrays]
    gone = [weakref.ref(copy) for copy in made]
    for array, copy in zip(arrays, made, strict=True):
        copies.keep(array, copy)
    del made, copy, array, arrays[0]
    assert gone[0]() is None and copies.find(arrays[0]) is gone[1]()
    gc.disable()
    try:
        del copies  # with nothing in a circle
        assert gone[1]() is None
    finally:
        gc.enable()


def test_two_functions_with_one_array_take_one_block():
    table, sink = np.arange(100_000.0), HeapSink(shared_heap())
    first = encode_code(lambda: table, sink)
    second = encode_code(lambda: [table], sink)
    assert [block.offset for block in first.anchors] == [block.offset for block in second.anchors]
    table[0] = -1
    third = encode_code(lambda: (table,), sink)
    assert third.anchors[0].offset != first.anchors[0].offset


def test_a_small_array_in_shared_memory_is_taken_as_it_is():
    flag = pardata.zeros(1, bool)
    assert len(encode_code(lambda: flag, HeapSink(shared_heap())).anchors) == 1


@pytest.mark.parametrize("place", [0, 1 << 20, (3 << 20) - 2])
def test_a_large_array_is_compared_by_all_cores_to_its_last_entry(monkeypatch, place):
    monkeypatch.setattr(captured_arrays, "usable_cores", lambda: 3)
    array, copies = np.zeros((3 << 20) - 1), CapturedArrays()
    copies.keep(array, array.copy())
    assert copies.find(array) is not None
    array[place] = 1
    assert copies.find(array) is None


@pytest.fixture
def watched(monkeypatch):
    """A large array whose pages are watched, what has its copy, and the comparisons since."""
    array, copies, compared = np.zeros((9 << 20) + 5, np.uint8), CapturedArrays(), []
    compare = captured_arrays._is_same_memory
    monkeypatch.setattr(captured_arrays, "_is_same_memory", lambda *where: compared.append(1) or compare(*where))
    monkeypatch.setattr(captured_arrays, "_SETTLE_S", 0)
    copies.keep(array, array.copy())
    for _ in range(6):
        assert copies.find(array) is not None
    if len(compared) == 6:
        pytest.skip("this system does not tell what was written")
    assert len(compared) == 4  # without the watch, with it, and once more
    compared.clear()
    return array, copies, compared


@pytest.mark.parametrize("place", [0, 4 << 20, -1])
def test_a_watched_array_is_compared_when_it_was_written(watched, place):
    array, copies, compared = watched
    array[place] = 1
    assert copies.find(array) is None
    array[place] = 0
    assert copies.find(array) is not None
    assert copies.find(array) is not None and copies.find(array) is not None and copies.find(array) is not None
    assert len(compared) <= 4
    array[place] = 1
    assert copies.find(array) is None


def test_what_another_process_writes_while_the_watch_begins_may_take_a_while(watched, monkeypatch):
    array, copies, compared = watched
    monkeypatch.setattr(captured_arrays, "_SETTLE_S", 3600)
    kept = copies._kept[id(array)]
    array[4 << 20] = kept._wait = 0
    for _ in range(4):
        assert copies.find(array) is not None
    assert len(compared) == 4
    monkeypatch.setattr(captured_arrays, "_SETTLE_S", 0)
    for _ in range(3):
        assert copies.find(array) is not None
    assert len(compared) == 5


def test_an_array_that_is_written_time_and_again_is_watched_less_and_less(watched, monkeypatch):
    array, copies, _ = watched
    begun = []
    start = captured_arrays.PageWatch.start
    monkeypatch.setattr(captured_arrays.PageWatch, "start", lambda watch: begun.append(call) or start(watch))
    for call in range(31):  # noqa: B007
        array[4 << 20] = 0
        assert copies.find(array) is not None
    assert begun == [0, 2, 6, 14, 30]


@pytest.mark.parametrize("is_before", [True, False])
def test_no_write_is_missed_wherever_a_comparison_was_left(watched, is_before):
    array, copies, _ = watched
    kept = copies._kept[id(array)]
    steps = {kept._is_same_watched.__code__, kept._begin_watch.__code__, captured_arrays.PageWatch.start.__code__}

    class Interruptions:
        def __init__(self, line):
            self.left, self.is_over = line, True

        def __call__(self, frame, event, argument):
            if frame.f_code not in steps:
                return self if frame.f_code is kept.is_same.__func__.__code__ else None
            if event == "line":
                self.left -= 1
                if self.left == 0:
                    self.is_over = False
                    raise KeyboardInterrupt
            return self

    for line in range(1, 99):
        array[4 << 20] = 0
        kept._wait = 0
        for _ in range(line % 4):
            assert copies.find(array) is not None
        array[4 << 20] = is_before
        kept._wait = 0
        interruptions, before = Interruptions(line), sys.gettrace()
        sys.settrace(interruptions)
        try:
            copies.find(array)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if not is_before:
            array[4 << 20] = 1
        for _ in range(3):
            assert copies.find(array) is None
        if interruptions.is_over and line > 30:
            break


def test_a_comparison_in_the_middle_of_another_one_leaves_its_watch_alone(watched, monkeypatch):
    array, copies, _ = watched
    kept, compare = copies._kept[id(array)], captured_arrays._is_same_memory
    array[4 << 20] = kept._wait = 0
    assert copies.find(array) is not None

    def interrupted(*where):
        is_same = compare(*where)
        array[4 << 20] = 1  # a handler of signals
        kept._wait = 0
        monkeypatch.setattr(captured_arrays, "_is_same_memory", left)
        with pytest.raises(KeyboardInterrupt):
            copies.find(array)
        return is_same

    def left(*where):
        raise KeyboardInterrupt

    monkeypatch.setattr(captured_arrays, "_is_same_memory", interrupted)
    assert copies.find(array) is not None
    monkeypatch.setattr(captured_arrays, "_is_same_memory", compare)
    assert copies.find(array) is None


def test_threads_that_compare_one_array_miss_no_write(watched):
    array, copies, _ = watched
    with ThreadPoolExecutor(3) as threads:
        for number in range(60):
            array[4 << 20] = number % 3 == 2
            found = [each.result() for each in [threads.submit(copies.find, array) for _ in range(3)]]
            assert {copy is None for copy in found} == {number % 3 == 2}
