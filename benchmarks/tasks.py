"""What the smallest task costs: no-ops on two warm workers, in microseconds per item."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import pardata

WORKERS = 2
CALLS = 5


def nothing(x: Any) -> Any:
    return x


def _median(call: Callable[[], Any], items: int) -> dict[str, Any]:
    call()
    taken = []
    for _ in range(CALLS):
        begin = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begin) / items)
    median = statistics.median(taken)
    return {"value": median, "seconds": median * items, "items": items, "calls": taken}


def _round_trips(submit: Callable[..., Any]) -> dict[str, Any]:
    """The median of single round trips, not of their mean: one that is interrupted does not count for many."""
    taken = []
    for _ in range(3000):
        begin = time.perf_counter()
        submit(nothing, 1).result()
        taken.append(time.perf_counter() - begin)
    median = statistics.median(taken)
    return {"value": median, "seconds": sum(taken), "items": len(taken), "calls": sorted(taken)[::300]}


def pardata_submit(name: str, seconds: float) -> dict[str, Any]:
    with pardata.WorkerPool(WORKERS) as pool:
        pool.submit(nothing, 1).result()
        return _round_trips(pool.submit)


def executor_submit(name: str, seconds: float) -> dict[str, Any]:
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        pool.submit(nothing, 1).result()
        return _round_trips(pool.submit)


def pardata_chunk_1(name: str, seconds: float) -> dict[str, Any]:
    with pardata.WorkerPool(WORKERS) as pool:
        return _median(lambda: list(pool.map(nothing, range(20_000), chunksize=1)), 20_000)


def pool_chunk_1(name: str, seconds: float) -> dict[str, Any]:
    with multiprocessing.Pool(WORKERS) as pool:
        return _median(lambda: pool.map(nothing, range(20_000), chunksize=1), 20_000)


def pardata_auto(name: str, seconds: float) -> dict[str, Any]:
    items = [float(x) for x in range(500_000)]
    with pardata.WorkerPool(WORKERS) as pool:
        return _median(lambda: list(pool.map(nothing, items)), len(items))


def pool_auto(name: str, seconds: float) -> dict[str, Any]:
    items = [float(x) for x in range(500_000)]
    with multiprocessing.Pool(WORKERS) as pool:
        return _median(lambda: pool.map(nothing, items), len(items))


def pardata_array(name: str, seconds: float) -> dict[str, Any]:
    array = pardata.zeros(2_000_000)
    with pardata.WorkerPool(WORKERS) as pool:
        return _median(lambda: pool.map_array(nothing, array), len(array))
