"""mpire, its workers kept alive. Arrays are cut and put together by its `map`, as its page on NumPy arrays shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mpire import WorkerPool

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, Flow, Pool


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with WorkerPool(workers, keep_alive=True) as pool:
            yield from pool.imap(flow.stages[0], ((x,) for x in flow.plain()), chunk_size=1)

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with WorkerPool(workers, keep_alive=True) as pool:
            # not `apply`: a pool that is kept alive cannot do that and `map` in turn
            yield Pool(
                lambda fn, items, chunksize: pool.map(fn, items, chunk_size=chunksize),
                lambda fn, x: pool.map(fn, [x])[0],
            )

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with WorkerPool(workers, keep_alive=True) as pool:
            yield lambda: pool.map(work.fn, a)
