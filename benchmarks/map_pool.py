"""`multiprocessing.Pool.map` over chunks, the results put together in one preallocated array.

The pool is forked (its default here). Chunks, for the rival, measured here on 2 cores (seconds):

    chunks             16      64     128     256    1024
    chunksize=1      1.10    0.91    0.99    1.15    1.44
    default          1.43    1.71    1.48    1.42    1.44
"""

from __future__ import annotations

import multiprocessing
from typing import Any

import numpy as np

from benchmarks.maps import ITEMS, WORKERS, fill, measure_calls, transform

CHUNKS = 64


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Time warm calls; `seconds` is not used, the number of calls is fixed."""
    a = np.empty(ITEMS)
    fill(a)
    out = np.empty_like(a)

    def call() -> Any:
        return np.concatenate(pool.map(transform, np.array_split(a, CHUNKS), chunksize=1), out=out)

    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        return measure_calls(a, call)
