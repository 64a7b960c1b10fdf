"""Starting a `multiprocessing.Pool` of eight: by spawn, and by a forkserver that has numpy loaded and is running."""

from __future__ import annotations

import multiprocessing
import time

from benchmarks.starts import WORKERS, result, wait_for_all


def forkserver(name: str, seconds: float) -> dict[str, float]:
    """Time one start; `seconds` is not used."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy"])
    return _start(context)


def spawn(name: str, seconds: float) -> dict[str, float]:
    """Time one start; `seconds` is not used."""
    return _start(multiprocessing.get_context("spawn"))


def _start(context: multiprocessing.context.BaseContext) -> dict[str, float]:
    with context.Pool(1) as pool:
        pool.apply(int)
    begin = time.perf_counter()
    with context.Pool(WORKERS) as pool:
        return result(begin, wait_for_all(pool))
