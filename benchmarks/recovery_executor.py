"""What a user of `ProcessPoolExecutor` must do: the kill breaks the whole executor, a new one is made by hand.

Forked, which is its default here and its quickest start. (`multiprocessing.Pool` waits for ever for a lost task.)
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from benchmarks.recovery import kill_when_ready, measure_kills, victim


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Kill the worker of a submitted task, an executor for each kill; `seconds` is not used."""
    with tempfile.TemporaryDirectory() as folder:
        return measure_kills(lambda i: _one(f"{folder}/{i}"))


def _one(path: str) -> float:
    executor = _executor()
    future = executor.submit(victim, path)
    begin = kill_when_ready(path)
    try:
        future.result(timeout=30)
        raise AssertionError("the victim was not killed")
    except BrokenProcessPool:
        executor.shutdown(wait=False)
    with _executor() as executor:
        executor.submit(victim, path).result(timeout=30)
        return time.perf_counter() - begin
