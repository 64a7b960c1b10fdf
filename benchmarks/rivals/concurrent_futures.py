"""`concurrent.futures.ProcessPoolExecutor`. Forked, which is its default here and its quickest start.

A killed worker breaks the whole executor: the user makes another one and submits the unfinished calls again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, FileWork, Flow, Link, Pool, same

CHUNKS = 64


def _read_and_call(work: FileWork, page: int) -> Any:
    import tifffile

    return work.fn(tifffile.imread(work.source, key=page))


def _executor(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with _executor(workers) as executor:
            yield from executor.map(flow.stages[0], flow.plain())

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with _executor(1) as executor:
            yield lambda x: executor.submit(same, x).result()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with _executor(workers) as executor:
            yield Pool(
                lambda fn, items, chunksize: list(executor.map(fn, items, chunksize=chunksize or 1)),
                lambda fn, x: executor.submit(fn, x).result(),
            )

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with _executor(workers) as executor:
            yield lambda: np.concatenate(list(executor.map(work.fn, np.array_split(a, CHUNKS))))

    @contextmanager
    def map_file(self, work: FileWork, workers: int) -> Iterator[Callable[[], None]]:
        """Each call reads a page of the file; the main process writes the results."""
        import tifffile

        options: dict[str, Any] = {"contiguous": True}  # else without its descriptions, as each page were a series
        if work.compression is not None:
            options = {"compression": work.compression, "metadata": None}
        with _executor(workers) as executor:

            def call() -> None:
                work.remove_target()
                with tifffile.TiffWriter(work.target) as target:
                    for made in executor.map(partial(_read_and_call, work), range(work.shape[0])):
                        target.write(made, **options)

            yield call

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        executors = [_executor(2)]

        def call(fn: Callable[[str], Any], x: str) -> Any:
            while True:
                try:
                    return executors[-1].submit(fn, x).result(timeout=30)
                except BrokenProcessPool:
                    executors.append(_executor(2))

        yield call
        for executor in executors:
            executor.shutdown()
