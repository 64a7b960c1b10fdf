"""Dask arrays on its threaded scheduler, the default for arrays: chunks as large as dask chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask.array
import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, FileWork


class Rival(rival.Rival):
    scheduler = "threads"
    chunks: Any = 64  # parts; "auto" would make two of 128 MiB, which is slower here

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        rows = -(-work.shape[0] // self.chunks)
        array = dask.array.from_array(a, chunks=(rows, *work.shape[1:])).map_blocks(work.fn, dtype=np.float64)
        yield lambda: array.compute(scheduler=self.scheduler, num_workers=workers)

    @contextmanager
    def map_file(self, work: FileWork, workers: int) -> Iterator[Callable[[], None]]:
        def call() -> None:
            with work.opened(work.source, "r") as source, work.opened(work.target, "r+") as target:
                made = dask.array.from_zarr(source).map_blocks(work.fn, dtype=source.dtype)
                dask.array.store(made, target, lock=False, scheduler=self.scheduler, num_workers=workers)

        yield call
