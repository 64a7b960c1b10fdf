"""`WorkerPool.map_array` on an array that is shared already."""

from __future__ import annotations

from typing import Any

import numpy as np

import pardata
from benchmarks.maps import ITEMS, WORKERS, fill, measure_calls


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Time warm calls; `seconds` is not used, the number of calls is fixed."""
    a = pardata.empty(ITEMS)
    fill(a)
    with pardata.WorkerPool(WORKERS) as pool:
        return measure_calls(a, lambda: pool.map_array(lambda x: np.sqrt(x) * np.sin(x), a))
