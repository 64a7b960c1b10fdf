"""The cost of a task: calls that do nothing on two warm workers, singly and in bulk, and calls of a millisecond."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import ArrayWork, Rival
from benchmarks.timing import outcome, repeat

WORKERS = 2


def nothing(x: Any) -> Any:
    return x


def millisecond(x: Any) -> Any:
    """Use a core for one."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass
    return x


def _submit(rival: Rival, seconds: float) -> Outcome:
    """The median of single round trips, not of their mean: one that is interrupted does not count for many."""
    taken: list[float] = []
    with rival.pool(WORKERS) as pool:
        for i in range(50):
            assert pool.call(nothing, i) == i
        end = time.perf_counter() + seconds
        while len(taken) < 100 or time.perf_counter() < end:
            begin = time.perf_counter()
            pool.call(nothing, 1)
            taken.append(time.perf_counter() - begin)
    return outcome(taken)


def _map(fn: Any, count: int, chunksize: int | None, rival: Rival, seconds: float) -> Outcome:
    """Seconds per item."""
    items = [float(i) for i in range(count)]
    with rival.pool(WORKERS) as pool:
        assert list(pool.map(fn, items, chunksize)) == items
        return outcome(repeat(lambda: pool.map(fn, items, chunksize), seconds, count), count)


def zero_fill(a: Any) -> None:
    a[:] = 0


def _array(rival: Rival, seconds: float) -> Outcome:
    """Seconds per entry of an array that is mapped by a function that does nothing."""
    count = 2_000_000
    with rival.map_array(ArrayWork(nothing, zero_fill, (count,)), WORKERS) as call:
        result = call()
        assert result.shape == (count,) and not np.any(result)
        del result
        return outcome(repeat(call, seconds, count), count)


CALLS = ("threads", "mp.Pool", "concurrent.futures", "pebble", "dask distributed")
MAPS = ("mp.Pool", "concurrent.futures", "joblib", "mpire")
AUTOMATIC = ("mp.Pool", "joblib", "mpire")

CASES = (
    Case("task_submit", "one call and its result, no-op", "s", ("pardata", *CALLS), _submit),
    Case("task_chunk_1", "per no-op, chunksize=1", "s", ("pardata", *MAPS), partial(_map, nothing, 2_000, 1)),
    Case(
        "task_auto",
        "per no-op, chunksize as the library chooses",
        "s",
        ("pardata", *AUTOMATIC),
        partial(_map, nothing, 100_000, None),
    ),
    Case(
        "task_1ms",
        "per call of 1 ms, chunksize as the library chooses",
        "s",
        ("pardata", *AUTOMATIC),
        partial(_map, millisecond, 400, None),
    ),
    Case("task_array", "per entry, map_array of a no-op", "s", ("pardata", "mp.Pool", "mpire"), _array),
)
