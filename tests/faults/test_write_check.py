"""PARDATA_CHECK=1: native code that writes to what a worker has received read-only ends it where it writes."""

import ctypes

import numpy as np
import pytest

import pardata

N = 100_000


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    monkeypatch.setenv("PARDATA_CHECK", "1")


def overwrite(array):
    """As a library that ignores the flag."""
    ctypes.memset(array.ctypes.data + array.nbytes // 2, 1, 8)
    return array.sum()


def add_one(array):
    array += 1
    return array


def fill(array):
    array[:] = 7


def in_a_stage():
    pardata.source([np.zeros(N)]).map(overwrite).run()


def in_a_pools_map():
    with pardata.WorkerPool(1) as pool:
        list(pool.map(overwrite, [np.zeros(N)]))


def in_map_array():
    with pardata.WorkerPool(1) as pool:
        pool.map_array(overwrite, pardata.zeros(N))


@pytest.mark.parametrize(
    ("use", "place"),
    [(in_a_stage, "stage 'overwrite'"), (in_a_pools_map, "item 0 of a map"), (in_map_array, "row 0 of an array")],
)
def test_a_write_ends_the_worker_and_is_told(use, place, capfd):
    with pytest.raises(pardata.WorkerLostError) as caught:
        use()
    assert place in str(caught.value) and "SIGSEGV (PARDATA_CHECK=1 is on" in str(caught.value)
    printed = capfd.readouterr().err
    assert "Segmentation fault" in printed and "in overwrite" in printed


def test_what_may_be_written_to_can_be():
    """Memory that was read-only for a worker becomes its own, the output, or an array that is changed in place."""
    with pardata.WorkerPool(1) as pool:
        for _ in range(3):
            given = pardata.array(np.arange(float(N)))
            made = pool.map_array(np.sqrt, given)
            assert np.array_equal(pool.map_array(np.square, made, out=given), np.square(np.sqrt(np.arange(float(N)))))
            pool.foreach_array(fill, made)
            assert (made == 7).all()
            results = list(pool.map(np.negative, [made, given]))
            assert np.array_equal(next(iter(pool.map(np.negative, results[1:]))), given)
            del given, made, results
    frames = (np.full(N, number) for number in range(6))
    added = pardata.source(frames).map(add_one, inplace=True).map(np.negative).map(add_one, inplace=True)
    assert [array[0] for array in added] == [0, -1, -2, -3, -4, -5]


def test_info_says_whether(monkeypatch):
    from pardata.runtime.information import information

    told = dict(information("0")["switched on"])["writes of native code to read-only arrays end the worker"]
    assert told == "on (PARDATA_CHECK=1)"
