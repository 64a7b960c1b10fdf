"""joblib with loky, its default; calls share one `Parallel` as a context manager, so workers stay.

map_array: arrays above 1 MB reach the workers as memory maps by themselves, and the output is a writable memory map
too, as its page on memory-mapping shows. A killed worker is a `TerminatedWorkerError`; the call is made again.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from benchmarks.rivals import rival
from benchmarks.rivals.rival import Flow, Pool

CHUNKS = 64


def _into(fn: Callable[[Any], Any], a: Any, out: Any, lo: int, hi: int) -> None:
    out[lo:hi] = fn(a[lo:hi])


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        parallel = joblib.Parallel(workers, return_as="generator")
        yield from parallel(joblib.delayed(flow.stages[0])(x) for x in flow.plain())

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with joblib.Parallel(workers) as auto, joblib.Parallel(workers, batch_size=1) as single:

            def map_(fn: Callable[[Any], Any], items: Any, chunksize: int | None) -> list[Any]:
                parallel = auto if chunksize is None else single
                results: list[Any] = parallel(joblib.delayed(fn)(x) for x in items)
                return results

            yield Pool(map_, lambda fn, x: single([joblib.delayed(fn)(x)])[0])

    @contextmanager
    def map_array(
        self, fn: Callable[[Any], Any], fill: Callable[[Any], None], shape: tuple[int, ...], workers: int
    ) -> Iterator[Callable[[], Any]]:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
            a, out = (np.memmap(f"{folder}/{name}", np.float64, "w+", shape=shape) for name in ("in", "out"))
            fill(a)
            bounds = np.linspace(0, shape[0], CHUNKS + 1).astype(int).tolist()
            with joblib.Parallel(workers) as parallel:

                def call() -> Any:
                    parallel(
                        joblib.delayed(_into)(fn, a, out, lo, hi) for lo, hi in zip(bounds, bounds[1:], strict=False)
                    )
                    return out

                yield call

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        def call(fn: Callable[[str], Any], x: str) -> Any:
            while True:
                try:
                    return joblib.Parallel(2)([joblib.delayed(fn)(x)])[0]
                except TerminatedWorkerError:
                    pass

        yield call
