"""Named blocks of pardata and of the standard library: made, mapped and freed; filled; attached to.

"block_free" makes, maps and frees 1 MiB. "block_fill" fills 256 MiB: pardata's array lies in memory that was used
before, as it does in any program that goes on; the standard library's block is a new one each time. "block_attach"
attaches to 1 MiB and closes it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

MIB = 1 << 20


def pardata(name: str, seconds: float) -> dict[str, float]:
    """Measure pardata's."""
    import pardata as package

    return {"value": WORK[name](package, seconds), "seconds": seconds, "items": 1}


def stdlib(name: str, seconds: float) -> dict[str, float]:
    """Measure the standard library's."""
    from multiprocessing import shared_memory

    return {"value": WORK[name](shared_memory, seconds), "seconds": seconds, "items": 1}


def _median(work: Callable[[], float], seconds: float) -> float:
    """Return the median of what `work` returns, as often as fits into `seconds`."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        times.append(work())
    return sorted(times)[len(times) // 2]


def _free(package: Any, seconds: float) -> float:
    def hundred() -> float:
        start = time.perf_counter()
        for _ in range(100):
            block = package.SharedMemory(create=True, size=MIB)
            block.close()
            block.unlink()
        return (time.perf_counter() - start) / 100

    hundred()
    return _median(hundred, seconds)


def _attach(package: Any, seconds: float) -> float:
    block = package.SharedMemory(create=True, size=MIB)

    def hundred() -> float:
        start = time.perf_counter()
        for _ in range(100):
            package.SharedMemory(block.name).close()
        return (time.perf_counter() - start) / 100

    result = _median(hundred, seconds)
    block.close()
    block.unlink()
    return result


def _fill(package: Any, seconds: float) -> float:
    import numpy as np

    values = np.ones(256 * MIB, np.uint8)

    def ours() -> float:
        start = time.perf_counter()
        made = package.empty(values.shape, values.dtype)
        made[:] = values
        return time.perf_counter() - start

    def theirs() -> float:
        start = time.perf_counter()
        block = package.SharedMemory(create=True, size=values.nbytes)
        made: np.ndarray[Any, Any] = np.ndarray(values.shape, values.dtype, block.buf)
        made[:] = values
        took = time.perf_counter() - start
        del made
        block.close()
        block.unlink()
        return took

    work = ours if hasattr(package, "empty") else theirs
    work()  # warms up the one that can be
    return _median(work, seconds)


WORK: dict[str, Callable[[Any, float], float]] = {"block_free": _free, "block_attach": _attach, "block_fill": _fill}
