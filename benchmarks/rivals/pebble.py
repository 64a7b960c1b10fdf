"""pebble's `ProcessPool`. A killed worker fails its task alone; the user schedules it again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pebble import ProcessExpired, ProcessPool

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, Flow, Link, Pool, same

CHUNKS = 64


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPool]:
    pool = ProcessPool(workers, context=multiprocessing.get_context("fork"))
    try:
        yield pool
    finally:
        pool.close()
        pool.join()


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with _pool(workers) as pool:
            yield from pool.map(flow.stages[0], flow.plain()).result()

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with _pool(1) as pool:
            yield lambda x: pool.schedule(same, args=(x,)).result()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with _pool(workers) as pool:
            yield Pool(
                lambda fn, items, chunksize: list(pool.map(fn, items, chunksize=chunksize or 1).result()),
                lambda fn, x: pool.schedule(fn, args=(x,)).result(),
            )

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with _pool(workers) as pool:
            yield lambda: np.concatenate(list(pool.map(work.fn, np.array_split(a, CHUNKS)).result()))

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        with _pool(2) as pool:

            def call(fn: Callable[[str], Any], x: str) -> Any:
                while True:
                    try:
                        return pool.schedule(fn, args=(x,)).result(timeout=30)
                    except ProcessExpired:
                        pass

            yield call
