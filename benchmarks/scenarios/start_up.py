"""Eight workers that have NumPy and have answered once, where such a pool was there before and is gone."""

from __future__ import annotations

import time

from benchmarks.answers import answer
from benchmarks.case import Case, Outcome
from benchmarks.rivals import Pool, Rival

WORKERS = 8


def wait_for_all(pool: Pool) -> None:
    """Ask until every worker has answered."""
    pids: set[int] = set()
    end = time.perf_counter() + 60
    while len(pids) < WORKERS:
        pids.update(pool.map(answer, list(range(WORKERS)), 1))
        assert time.perf_counter() < end, f"only {len(pids)} of {WORKERS} workers have answered"


def _start(rival: Rival, seconds: float) -> Outcome:
    """One start: a second one in the same process would find more of it warm."""
    with rival.pool(1) as pool:
        pool.call(int, 0)
    begin = time.perf_counter()
    with rival.pool(WORKERS) as pool:
        wait_for_all(pool)
        return {"value": time.perf_counter() - begin, "items": WORKERS}


SIDES = ("pardata", "mp.Pool", "mp.Pool spawn", "concurrent.futures", "joblib", "dask distributed")

CASES = (Case("start_up", "8 workers started and answering", "s", SIDES, _start),)
