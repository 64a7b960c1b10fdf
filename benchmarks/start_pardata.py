"""Starting a `WorkerPool` of eight when an earlier pool was there and is gone."""

from __future__ import annotations

import time

import pardata
from benchmarks.starts import WORKERS, result, wait_for_all


def measure(name: str, seconds: float) -> dict[str, float]:
    """Time one start; `seconds` is not used."""
    with pardata.WorkerPool(1) as pool:
        pool.submit(int).result()
    begin = time.perf_counter()
    with pardata.WorkerPool(WORKERS) as pool:
        return result(begin, wait_for_all(pool))
