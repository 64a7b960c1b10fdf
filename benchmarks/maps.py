"""The work of the map_array scenarios: sqrt(x) * sin(x) on 256 MiB of float64, by two workers that are warm."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ITEMS = 2**25
WORKERS = 2
CALLS = 5


def transform(x: Any) -> Any:
    return np.sqrt(x) * np.sin(x)


def fill(a: Any) -> None:
    """Write the input, in place."""
    a[:] = np.linspace(0.0, 1000.0, len(a))


def measure_calls(a: Any, call: Callable[[], Any]) -> dict[str, Any]:
    """The median seconds of `CALLS` calls after a warm-up call; the last result is checked against one process's.

    Returns
    -------
    dict with "value" and "seconds" (the median), "items" (entries per call), "calls" (seconds of each)
    """
    call()
    seconds = []
    out = None
    for _ in range(CALLS):
        out = None  # the user is done with the last result: its memory may be used again
        begin = time.perf_counter()
        out = call()
        seconds.append(time.perf_counter() - begin)
    assert out is not None and out.shape == a.shape and out.dtype == a.dtype
    # not array_equal: how the last entries of a chunk are computed (vector or scalar) may differ by one bit
    assert np.max(np.abs(out - transform(a))) < 1e-10, "the result is wrong"
    median = statistics.median(seconds)
    return {"value": median, "seconds": median, "items": len(a), "calls": seconds}
