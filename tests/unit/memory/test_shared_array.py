"""SharedArray: an ndarray for everybody, an address for pickle."""

import copy
import gc
import pickle

import numpy as np
import pytest

import pardata
from pardata.memory.segment import HUGE_PAGE_BYTES
from pardata.memory.shared_heap import shared_heap


@pytest.fixture
def shared():
    """12 x 12 numbers."""
    return pardata.array(np.arange(144.0).reshape(12, 12))


def live_bytes():
    gc.collect()
    pardata.zeros(HUGE_PAGE_BYTES, np.uint8)  # an allocation takes back what other processes have let go
    return shared_heap().arena.statistics()["live_bytes"]


def through_pickle(array, protocol=5):
    return pickle.loads(pickle.dumps(array, protocol))


VIEWS = {
    "itself": lambda a: a,
    "slice": lambda a: a[2:5],
    "transpose": lambda a: a.T,
    "reversed": lambda a: a[::-1, ::-2],
    "column": lambda a: a[:, 3],
    "reshaped": lambda a: a.reshape(2, 72)[1],
    "other type": lambda a: a.view(np.int64),
    "one number": lambda a: a[3, 4:5].reshape(()),
    "new axis": lambda a: a[None, 5],
    "squeezed": lambda a: a[None, 5].squeeze(),
    "function": lambda a: np.swapaxes(np.squeeze(a[None]), 0, 1),
    "flat": lambda a: a.ravel(),
}


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_views_pickle_by_address(shared, make, protocol):
    view = make(shared)
    again = through_pickle(view, protocol)
    assert type(view) is type(again) is pardata.SharedArray
    assert (again.shape, again.dtype) == (view.shape, view.dtype)
    assert view.flags.c_contiguous or again.strides == view.strides
    np.testing.assert_array_equal(again, view)
    assert np.shares_memory(again, shared)


def test_address_does_not_grow_with_the_array():
    sizes = []
    for n in (10, 1 << 20):
        data = pickle.dumps(pardata.empty(n))
        pickle.loads(data)
        sizes.append(len(data))
    assert abs(sizes[0] - sizes[1]) < 20


@pytest.mark.parametrize("dtype", ["f4", "i1", "?", "c16", "M8[ns]", "U7", "S3", [("x", "f8"), ("y", "i4", 3)], ">u2"])
def test_any_dtype_without_objects(dtype):
    values = np.zeros(5, dtype)
    shared = pardata.array(values)
    assert through_pickle(shared).dtype == values.dtype
    np.testing.assert_array_equal(through_pickle(shared[1:]), values[1:])


def test_results_are_ordinary_arrays(shared):
    made = [
        shared + 1,
        1 - shared,
        np.sqrt(shared),
        shared.sum(0),
        shared.mean(axis=1),
        shared > 3,
        shared @ shared,
        np.concatenate([shared, shared]),
        np.where(shared > 3, shared, 0),
        shared[[1, 2]],
        shared[shared > 3],
        shared.copy(),
        shared.astype(int),
        copy.copy(shared),
        copy.deepcopy(shared),
        np.array(shared),
        np.cumsum(shared, 0),
        np.sort(shared),
        np.zeros_like(shared),
        np.empty_like(shared),
        np.copy(shared, subok=True),
        np.take(shared, [1]),
        shared.dot(shared),
        shared.take([1]),
        shared.repeat(2),
        shared.argsort(),
        shared.argpartition(1),
        shared.compress([True], 0),
        shared.byteswap(),
        shared.flatten(),
        shared.T.ravel(),
        shared.T.reshape(-1),
        shared.clip(0, 1),
        shared.round(),
        shared.trace(),
    ]
    assert made.pop().ndim == 0
    assert [type(array) for array in made] == [np.ndarray] * len(made)
    assert not any(np.shares_memory(array, shared) for array in made)


def test_numbers_are_numbers(shared):
    assert [type(number) for number in (shared.sum(), shared[1, 2], shared.max(), np.mean(shared))] == [np.float64] * 4


def test_written_in_place(shared):
    expected = np.array(shared) * 2 + 1
    same = shared
    same *= 2
    assert np.add(shared, 1, out=shared) is shared
    assert same is shared
    np.testing.assert_array_equal(shared, expected)


def test_copy_that_numpy_makes_of_this_type_pickles_as_an_ordinary_array(shared):
    made = np.array(shared, subok=True)
    assert not np.shares_memory(made, shared)
    again = through_pickle(made)
    assert type(again) is np.ndarray
    np.testing.assert_array_equal(again, shared)


def test_read_only_stays_so():
    shared = pardata.array([1, 2], readonly=True)
    for array in (shared, shared[1:], through_pickle(shared)):
        with pytest.raises(ValueError):
            array[0] = 5


def test_protocols_of_other_libraries(shared):
    assert np.shares_memory(np.from_dlpack(shared), shared)
    assert shared.__array_interface__["data"][0] == np.asarray(shared).ctypes.data
    assert memoryview(shared).nbytes == shared.nbytes


def test_memory_returns_with_the_last_view():
    before = live_bytes()
    shared = pardata.zeros(HUGE_PAGE_BYTES, np.uint8)
    view = shared[5:][::2].T
    del shared
    assert live_bytes() == before + HUGE_PAGE_BYTES
    del view
    assert live_bytes() == before


def test_memory_returns_when_who_received_it_has_let_go():
    before = live_bytes()
    shared = pardata.zeros(HUGE_PAGE_BYTES, np.uint8)
    again = through_pickle(shared)
    del shared
    again[3] = 1
    del again
    fresh = pardata.empty(HUGE_PAGE_BYTES, np.uint8)
    del fresh
    assert live_bytes() <= before + HUGE_PAGE_BYTES


def test_what_is_on_its_way_is_kept():
    data = pickle.dumps(pardata.array(np.full(HUGE_PAGE_BYTES, 7, np.uint8)))
    others = [pardata.zeros(HUGE_PAGE_BYTES, np.uint8) for _ in range(3)]
    assert pickle.loads(data).min() == 7
    del others


def test_what_was_received_and_deleted_is_told_stale():
    data = pickle.dumps(pardata.zeros(HUGE_PAGE_BYTES, np.uint8))
    pickle.loads(data)  # and let go
    shared_heap().arena._ask_for_memory()
    with pytest.raises(pardata.StaleBlockError, match="keep it until"):
        pickle.loads(data)


def test_cannot_be_made_by_its_name():
    with pytest.raises(TypeError, match=r"pardata\.empty"):
        pardata.SharedArray((3,))


def test_manager_makes_arrays():
    with pardata.SharedMemoryManager() as manager:
        made = manager.array([[1, 2], [3, 4]])
        again = through_pickle(made.T)
        again[0, 1] = 9
        assert made.tolist() == [[1, 2], [9, 4]]
        assert type(made) is pardata.SharedArray and manager.zeros(3, int).tolist() == [0, 0, 0]
        assert len(manager.blocks()) == 2
        data = pickle.dumps(manager.empty(3))
    assert made.sum() == 16
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)
