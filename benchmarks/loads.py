"""Maps over items that take unequal time: "auto" beside the best fixed chunksize that a search finds. Two workers.

The loads are those of `tests/unit/pool/loads.py`, cut to about two seconds of work each. A fixed chunksize here is one
message per chunk, as other pools do it: pardata's own bundling of short ones is left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pardata
from pardata.pool import chunking

WORKERS = 2
CALLS = 3
FIXED = (1, 4, 16, 64, 256, 1024, 4096)


def _lognormal() -> Any:
    return np.random.default_rng(0).lognormal(np.log(0.4e-3), 1.5, 1_600)


def _cluster() -> Any:
    items = np.full(4_000, 1e-4)
    items[1_800:1_880] *= 200
    return items


LOADS: dict[str, Callable[[], Any]] = {
    "loads_A": lambda: np.full(100_000, 20e-6),
    "loads_B": lambda: np.full(400, 5e-3),
    "loads_C": _lognormal,
    "loads_D": lambda: np.linspace(0, 2e-3, 2_000),
    "loads_E": lambda: np.linspace(2e-3, 0, 2_000),
    "loads_F": lambda: np.r_[np.full(18_000, 2e-6), np.full(2_000, 1e-3)],
    "loads_G": _cluster,
    "loads_H": lambda: np.full(400, 5e-3),
}


def spend(seconds: float) -> None:
    """Use a core for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def spend_unequally(seconds: float) -> None:
    """The first worker is half as fast."""
    spend(seconds * (2 if pardata.worker().index == 0 else 1))


def _seconds(pool: pardata.WorkerPool, fn: Callable[[float], None], items: list[float], chunksize: int | str) -> float:
    begin = time.perf_counter()
    list(pool.map(fn, items, chunksize=chunksize))
    return time.perf_counter() - begin


def auto(name: str, seconds: float) -> dict[str, Any]:
    """The median time with "auto"; `seconds` is not used."""
    return _measure(name, ["auto"])


def best_fixed(name: str, seconds: float) -> dict[str, Any]:
    """The median time of the best fixed chunksize, found by trying each once."""
    chunking.BUNDLE_S = 0.0  # type: ignore[misc]
    return _measure(name, [size for size in FIXED if size <= len(LOADS[name]()) / 4])


def _measure(name: str, chunksizes: list[Any]) -> dict[str, Any]:
    items = LOADS[name]().tolist()
    fn = spend_unequally if name == "loads_H" else spend
    with pardata.WorkerPool(WORKERS) as pool:
        list(pool.map(fn, items[:10]))
        tried = {chunksize: _seconds(pool, fn, items, chunksize) for chunksize in chunksizes}
        best = min(tried, key=lambda chunksize: tried[chunksize])
        taken = [_seconds(pool, fn, items, best) for _ in range(CALLS)]
    median = statistics.median(taken)
    return {"value": median, "seconds": median, "items": len(items), "calls": taken, "chunksize": best}
