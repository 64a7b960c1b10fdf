"""A copy lies in memory as its array does: its axes in NumPy's order "K", and no more memory than the array has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from pardata.memory.layout import bounds, bytes_of, copy, fill, is_like, is_overlapping, layout_of, memory_of


@st.composite
def arrays(draw):
    """Views of an array of distinct numbers: cut, turned round, with gaps, its axes in any order."""
    lengths = draw(st.lists(st.integers(1, 4), max_size=4))
    whole = np.arange(np.prod([2 * length for length in lengths], dtype=int)).reshape([2 * n for n in lengths])
    turned = whole.transpose(draw(st.permutations(range(len(lengths)))))
    cuts = st.sampled_from([slice(None), slice(None, None, 2), slice(None, None, -1), slice(0, 1), slice(1, None)])
    return turned[tuple(draw(cuts) for _ in lengths)]


@settings(deadline=None)
@given(arrays())
def test_a_copy_has_the_order_that_numpy_calls_k(array):
    layout = layout_of(array)
    made = layout.view(array, bytearray(layout.nbytes))
    fill(made, array)
    numpys = array.copy(order="K")
    np.testing.assert_array_equal(made, array)
    np.testing.assert_array_equal(made.ravel(order="K"), array.ravel(order="K"))
    for flag in ("C_CONTIGUOUS", "F_CONTIGUOUS"):
        assert made.flags[flag] == numpys.flags[flag]
    assert layout.nbytes == array.nbytes and is_like(array, made)
    np.testing.assert_array_equal(layout.view(array, bytes_of(array, layout)), array)


VIEWS = {
    "broadcast": np.broadcast_to(np.arange(5.0), (1000, 5)),
    "broadcast to an axis behind": np.broadcast_to(np.arange(5.0)[:, None], (5, 1000)),
    "one number": np.broadcast_to(np.float32(3), (40, 50)),
    "a window": sliding_window_view(np.arange(100.0), 30),
    "a window of each row": sliding_window_view(np.arange(100.0).reshape(5, 20), 9, axis=1),
    "a window, backwards": sliding_window_view(np.arange(100.0), 30)[::-1, ::-1],
    "a window, in steps": sliding_window_view(np.arange(100), 30)[::3, ::-2],
    "diagonals": as_strided(np.arange(100), (90, 10), (8, 8)),
    "fields": np.broadcast_to(np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), (70,)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_entries_that_share_memory_share_it_in_the_copy(name):
    view = VIEWS[name]
    assert is_overlapping(view)
    layout, made = layout_of(view), copy(view)
    assert layout.nbytes == len(memory_of(view)) < view.nbytes
    assert made.strides == view.strides and not made.flags.writeable
    assert not np.may_share_memory(made, view)
    np.testing.assert_array_equal(made, view)
    np.testing.assert_array_equal(layout.view(view, bytes_of(view, layout)), view)


RECORDS = [
    [("a", "i4"), ("b", ">f8")],
    np.dtype([("a", "i1"), ("b", "f8", (2,))], align=True),
    [("a", [("b", "u2"), ("c", "U3")])],
    np.dtype({"names": ["b"], "formats": ["i4"], "offsets": [8], "itemsize": 24}),
    [],
]


@pytest.mark.parametrize("dtype", RECORDS, ids=str)
def test_records_are_copied_as_their_bytes(dtype):
    whole = np.frombuffer(np.arange(60 * max(1, np.dtype(dtype).itemsize), dtype="u4").astype("u1"), "u1")
    whole = whole[: 60 * np.dtype(dtype).itemsize].copy()
    array = np.ndarray((6, 10), dtype, whole) if whole.size else np.zeros((6, 10), dtype)
    for view in (array, array.T, array[::2, ::-3], array[:0]):
        layout, made, numpys = layout_of(view), copy(view), view.copy(order="K")
        filled = layout.view(view, bytearray(layout.nbytes)) if view.nbytes else made
        if view.nbytes:
            fill(filled, view)
        for one in (made, filled):
            assert one.dtype == view.dtype and one.strides == numpys.strides
            assert one.flags.f_contiguous == numpys.flags.f_contiguous
            assert [[one[i, j].tobytes() for j in range(one.shape[1])] for i in range(len(one))] == [
                [view[i, j].tobytes() for j in range(view.shape[1])] for i in range(len(view))
            ]


def test_bounds_reach_from_the_first_byte_to_the_last():
    array = np.arange(24.0).reshape(4, 6)[::-1, 1:5:2]
    assert bounds(array.shape, array.strides, 8) == (-18 * 8, 3 * 8)


@pytest.mark.parametrize(
    "array",
    [np.arange(12).reshape(3, 4), np.zeros((0, 3)), np.array(5), np.arange(9)[::2], np.ones((1, 1, 1))[::-1]],
    ids=["C", "no entries", "a scalar", "gaps", "ones"],
)
def test_what_has_an_entry_for_each_place_is_copied_whole(array):
    assert not is_overlapping(array)
    assert copy(array).flags.writeable


def test_a_copy_of_another_layout_is_not_like_the_array():
    array = np.zeros((3, 4))
    assert not is_like(array, np.asfortranarray(array))
    assert not is_like(array, np.zeros((4, 3))) and not is_like(array, np.zeros((3, 4), int))
