"""SIGKILL of a pool's worker and of a stage's, in the middle of a call: nothing to do for the user."""

from __future__ import annotations

import tempfile
import threading
import time
from typing import Any

import pardata
from benchmarks.recovery import kill_when_ready, measure_kills, victim


def pool(name: str, seconds: float) -> dict[str, Any]:
    """Kill the worker of a submitted task, again and again in one pool; `seconds` is not used."""
    with tempfile.TemporaryDirectory() as folder, pardata.WorkerPool(2) as pool:

        def one(i: int) -> float:
            path = f"{folder}/{i}"
            future = pool.submit(victim, path)
            begin = kill_when_ready(path)
            future.result(timeout=30)
            return time.perf_counter() - begin

        return measure_kills(one)


def stage(name: str, seconds: float) -> dict[str, Any]:
    """Kill the worker of a stage at item 50 of 100, a run for each kill; `seconds` is not used."""
    with tempfile.TemporaryDirectory() as folder:
        return measure_kills(lambda i: _one_run(f"{folder}/{i}"))


def _one_run(path: str) -> float:
    def work(i: int) -> int:
        if i == 50:
            victim(path)
        return i

    begins: list[float] = []
    killer = threading.Thread(target=lambda: begins.append(kill_when_ready(path)), daemon=True)
    killer.start()
    numbers, arrival = [], 0.0
    for i in pardata.source(range(100)).map(work, chunksize=1):
        numbers.append(i)
        if i == 50:
            arrival = time.perf_counter()
    killer.join()
    assert numbers == list(range(100)), f"items lost or doubled: {numbers}"
    return arrival - begins[0]
