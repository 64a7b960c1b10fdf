"""`multiprocessing.Pool`. Forked, its default on Linux here: its quickest start.

`map_array`: the function, with what it has captured, goes to a worker once, by the initializer. Chunks of the array are
items, the results are put together in one array that is there before. Chunks measured on 2 cores for 256 MB (seconds):

    chunks             16      64     128     256    1024
    chunksize=1      1.10    0.91    0.99    1.15    1.44
    default          1.43    1.71    1.48    1.42    1.44

A task whose worker was killed is waited for for ever, so there is no `survive`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, FileWork, Flow, Link, Pool, same

CHUNKS = 64


class Rival(rival.Rival):
    method = "fork"

    def _pool(self, workers: int, *initializer: Any) -> Any:
        return multiprocessing.get_context(self.method).Pool(workers, *initializer)

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with self._pool(workers) as pool:
            yield from pool.imap(flow.stages[0], flow.plain())

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with self._pool(1) as pool:
            yield lambda x: pool.apply(same, (x,))

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with self._pool(workers) as pool:
            yield Pool(pool.map, lambda fn, x: pool.apply(fn, (x,)))

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with self._pool(workers, _keep, (work.fn,)) as pool:
            out: list[Any] = [None]

            def call() -> Any:
                parts = pool.map(_call_kept, np.array_split(a, CHUNKS), chunksize=1)
                out[0] = np.concatenate(parts, out=out[0])
                return out[0]

            yield call

    @contextmanager
    def map_file(self, work: FileWork, workers: int) -> Iterator[Callable[[], None]]:
        """Each worker opens the file for a range of rows; the main process writes."""
        starts = range(0, work.shape[0], work.chunk_rows)
        with self._pool(workers) as pool:

            def call() -> None:
                with work.opened(work.target, "r+") as target:
                    for begin, made in zip(starts, pool.imap(partial(_read_and_call, work), starts), strict=True):
                        target[begin : begin + len(made)] = made

            yield call


def _read_and_call(work: FileWork, begin: int) -> Any:
    with work.opened(work.source, "r") as source:
        return work.fn(source[begin : begin + work.chunk_rows])


kept: list[Callable[[Any], Any]] = []


def _keep(fn: Callable[[Any], Any]) -> None:
    kept.append(fn)


def _call_kept(x: Any) -> Any:
    return kept[-1](x)
