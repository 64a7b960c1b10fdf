"""The work of the start_up scenario: a pool of eight workers, each of which has numpy and has answered once."""

from __future__ import annotations

import os
import time
from typing import Any

WORKERS = 8
LONG_ENOUGH_S = 0.002  # so that no worker takes the tasks of all before the others are there


def answer(_: int) -> int:
    """One task: the worker's pid, once numpy is there."""
    import numpy  # noqa: F401

    time.sleep(LONG_ENOUGH_S)
    return os.getpid()


def wait_for_all(pool: Any) -> int:
    """Ask until every worker has answered; the number of workers."""
    pids: set[int] = set()
    while len(pids) < WORKERS:
        pids.update(pool.map(answer, range(WORKERS), chunksize=1))
    return len(pids)


def result(begin: float, workers: int) -> dict[str, float]:
    """The outcome of a start that began at `begin` (perf_counter)."""
    seconds = time.perf_counter() - begin
    assert workers == WORKERS, f"{workers} workers answered, not {WORKERS}"
    return {"value": seconds, "seconds": seconds, "items": workers}
