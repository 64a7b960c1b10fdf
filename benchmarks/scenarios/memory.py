"""The peak memory of all processes together (the sum of their proportional set sizes), and its growth in a long run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import ArrayWork, Flow, Rival
from benchmarks.scenarios.map_array import fill, transform

WORKERS = 2
ITEMS = 10**9 // 8
LONG_RUN, EARLY = 1_000_000, 10_000
FARM_ITEMS, LOOK_EACH = 2_000, 500


def _map_array(rival: Rival, seconds: float) -> Outcome:
    """1 GB in, 1 GB out; once; the figure is the peak."""
    with rival.map_array(ArrayWork(transform, fill, (ITEMS,)), WORKERS) as call:
        out = call()
        for i in (0, ITEMS // 2, ITEMS - 1):
            x = np.array([i / ITEMS * 1000])
            assert abs(out[i] - transform(x)[0]) < 1e-3, f"entry {i} is {out[i]}, not {transform(x)[0]}"
    return {"value": out.nbytes / 1e6, "items": ITEMS}


def ones(count: int, empty: Callable[..., Any]) -> Iterator[Any]:
    array = np.ones(100)
    for _ in range(count):
        yield array


def add_one(x: Any) -> Any:
    return x + 1


def _resources() -> tuple[float, int]:
    """The memory of this process and all below it in MB, and how many descriptors they have open."""
    from benchmarks.processes import descendants, pss_bytes

    pids = [os.getpid(), *descendants(os.getpid())]
    return sum(map(pss_bytes, pids)) / 1e6, sum(
        len(os.listdir(f"/proc/{pid}/fd")) for pid in pids if Path(f"/proc/{pid}/fd").exists()
    )


def _long_run(rival: Rival, seconds: float) -> Outcome:
    """A million items: the growth of memory after the first ten thousand; the descriptors must not become more."""
    flow = Flow(partial(ones, LONG_RUN), 800, (add_one, add_one))
    early = late = (0.0, 0)
    number, x = 0, np.zeros(1)
    for number, x in enumerate(rival.chain(flow), 1):  # noqa: B007
        if number == EARLY:
            early = _resources()
        elif number == LONG_RUN - 1000:
            late = _resources()
    assert number == LONG_RUN and x[0] == 3, f"{number} items came, the last one {x[0]}"
    assert late[1] <= early[1], f"{late[1]} descriptors are open, after {EARLY} items {early[1]}"
    return {"value": max(0.0, late[0] - early[0]), "items": LONG_RUN, "early": early, "late": late}


def numbers(empty: Callable[..., Any]) -> Iterator[Any]:
    yield from range(FARM_ITEMS)


def _farm(workers: int, rival: Rival, seconds: float) -> Outcome:
    """A farm that has next to nothing to do: the most shared memory that all its processes have together."""
    from benchmarks.processes import descendants, pss_bytes

    total = most = 0
    for number, x in enumerate(rival.farm(Flow(numbers, 8, (add_one,)), workers)):
        total += x
        if number % LOOK_EACH == 0:
            pids = [os.getpid(), *descendants(os.getpid())]
            most = max(most, sum(pss_bytes(pid, "Pss_Shmem") for pid in pids))
    assert total == sum(range(1, FARM_ITEMS + 1)), f"the sum is {total}"
    return {"value": most / 1e6, "items": FARM_ITEMS}


CASES = (
    Case(
        "memory_map_array",
        "peak of map_array, 1 GB in and 1 GB out",
        "MB",
        ("pardata", "threads", "mp.Pool", "joblib memmap"),
        _map_array,
        peak=True,
        quick=(),
    ),
    Case("memory_long_run", "growth over a million items", "MB", ("pardata",), _long_run, quick=()),
    *(
        Case(
            f"memory_farm_{workers}",
            f"shared memory of {workers} workers, for {FARM_ITEMS:,} numbers",
            "MB",
            ("pardata",),
            partial(_farm, workers),
            quick=(),
        )
        for workers in (64, 128)
    ),
)
