"""`pardata.Pool` is what `multiprocessing.Pool` is; joblib's batches run on it."""

import itertools
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

import pardata
from tests.process.bars import Bar


@pytest.fixture
def pool():
    with pardata.Pool(2) as pool:
        yield pool


def test_maps(pool):
    assert pool.map(abs, [-1, -2]) == [1, 2] == pool(abs, [-1, -2])
    assert pool.map(abs, range(-100, 0), chunksize=3) == list(range(100, 0, -1))
    assert pool.starmap(pow, [(2, 3), [3, 2]]) == [8, 9]
    assert pool.apply(pow, (2, 3)) == 8
    assert pool.apply(int, ("ff",), {"base": 16}) == 255
    assert pool.size == 2
    with pytest.raises(ZeroDivisionError):
        pool.map(lambda x: 1 // x, [1, 0, 2])


def test_every_map_draws_a_bar(pool):
    Bar.made.clear()
    pairs = [(2, number) for number in range(30)]
    found = [
        pool.map(abs, range(30), progress=Bar), pool(abs, range(30), progress=Bar),
        pool.map_async(abs, range(30), progress=Bar).get(), list(pool.imap(abs, range(30), progress=Bar)),
        sorted(pool.imap_unordered(abs, range(30), progress=Bar)), list(pool.imap(abs, iter(range(30)), progress=Bar)),
        sorted(pool.imap(abs, (number for number in range(30)), progress=Bar)),
    ]  # fmt: skip
    assert found == [list(range(30))] * 7
    assert pool.starmap(pow, pairs, progress=Bar) == pool.starmap_async(pow, pairs, progress=Bar).get()
    assert [bar.n for bar in Bar.made] == [30] * 9
    assert [bar.total for bar in Bar.made] == [30] * 6 + [None] + [30] * 2


def test_imap_gives_the_results_behind_an_error(pool):
    for imap in (pool.imap, pool.imap_unordered):
        results = imap(lambda x: 10 // x, [5, 2, 0, 1], chunksize=1)
        got = []
        for _ in range(4):
            try:
                got.append(next(results))
            except ZeroDivisionError:
                got.append(0)
        assert sorted(got) == [0, 2, 5, 10]
        with pytest.raises(StopIteration):
            next(results)


def test_imap_of_an_endless_iterable_takes_as_much_as_is_used(pool):
    taken = itertools.count()
    results = pool.imap(abs, (next(taken) for _ in itertools.count()))
    assert [next(results) for _ in range(5000)] == list(range(5000))
    ahead = next(taken)
    assert ahead < 5000 + 4 * 2 * 0.02 / 1e-7
    waiting = pool.imap(time.sleep, itertools.repeat(0.01))
    next(waiting)
    assert len(waiting._results._job.items._items) < 200


def test_imap_waits_as_long_as_it_is_told(pool):
    results = pool.imap(time.sleep, [0.3])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    assert results.next(timeout=60) is None


def test_results_to_be(pool):
    called = threading.Event()
    got = []

    def take(value):
        got.append(value)
        called.set()

    result = pool.map_async(abs, range(-3, 0), callback=take)
    assert result.get(60) == [3, 2, 1] and result.successful() and called.wait(60) and got == [[3, 2, 1]]
    called.clear()
    failed = pool.apply_async(divmod, (1, 0), error_callback=take)
    with pytest.raises(ZeroDivisionError):
        failed.get()
    assert called.wait(60) and isinstance(got[1], ZeroDivisionError) and not failed.successful()
    assert pool.starmap_async(pow, [(2, 3)]).get() == [8]
    slow = pool.apply_async(time.sleep, (0.5,))
    assert not slow.ready()
    with pytest.raises(ValueError, match="not ready"):
        slow.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        slow.get(0.01)


def test_life_cycle():
    pool = pardata.Pool(1, initializer=os.putenv, initargs=("A", "B"), maxtasksperchild=5)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.apply_async(pow, (2, 3))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.map(abs, [1])
    pool.join()
    assert result.get() == 8
    with pardata.Pool(1) as pool:
        endless = pool.apply_async(time.sleep, (600,))
    with pytest.raises(pardata.WorkerLostError):
        endless.get()


@pytest.mark.parametrize("batch_size", ["auto", 1, 10])
def test_results_of_a_batch_of_joblib_are_what_they_were_when_they_were_returned(batch_size):
    import joblib

    def filled(number):
        kept = vars(np.random).setdefault("_kept", np.zeros(100))  # the worker's own
        kept[:] = number
        return kept

    pardata.register_joblib()
    with joblib.parallel_config(backend="pardata", n_jobs=2):
        found = joblib.Parallel(batch_size=batch_size)(joblib.delayed(filled)(number) for number in range(300))
    pardata.shutdown()
    assert [part[0] for part in found] == list(range(300))


def test_joblib_has_to_be_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "joblib", None)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[joblib\]"):
        pardata.register_joblib()
