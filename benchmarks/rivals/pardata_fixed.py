"""pardata with the best of some fixed chunksizes, found by a search: the measure for "auto".

One message per chunk, as other pools do it: pardata's own bundling of short ones is left out. The search is the first
call of `map` with so many items; later calls use its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pardata
from benchmarks.rivals import rival
from benchmarks.rivals.rival import Pool
from pardata.pool.jobs import chunking

SIZES = (1, 4, 16, 64, 256)


class Rival(rival.Rival):
    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        chunking.BUNDLE_S = 0.0  # type: ignore[misc]
        best: dict[int, int] = {}
        with pardata.WorkerPool(workers) as pool:

            def map_(fn: Callable[[Any], Any], items: Any, chunksize: int | None) -> list[Any]:
                count = len(items)
                if count not in best:
                    sizes = [size for size in SIZES if size <= max(1, count / 4)]
                    best[count] = min(sizes, key=lambda size: _seconds(pool, fn, items, size))
                return list(pool.map(fn, items, chunksize=best[count]))

            yield Pool(map_, lambda fn, x: pool.submit(fn, x).result())


def _seconds(pool: pardata.WorkerPool, fn: Callable[[Any], Any], items: Any, size: int) -> float:
    begin = time.perf_counter()
    list(pool.map(fn, items, chunksize=size))
    return time.perf_counter() - begin
