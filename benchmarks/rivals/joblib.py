"""joblib with loky, its default; calls share one `Parallel` as a context manager, so workers stay.

map_array: chunks of the array as arguments; what the workers return is put together. A killed worker is a
`TerminatedWorkerError`; the call is made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork, Flow, Pool

CHUNKS = 64


def run_tasks(parallel: joblib.Parallel, fn: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    """The results of some calls, as tasks of a `Parallel`."""
    results: list[Any] = parallel(joblib.delayed(fn)(*arguments) for arguments in calls)
    return results


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
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with joblib.Parallel(workers) as parallel:
            yield lambda: np.concatenate(parallel(joblib.delayed(work.fn)(x) for x in np.array_split(a, CHUNKS)))

    @contextmanager
    def tasks(self, workers: int) -> Iterator[Callable[[Callable[..., Any], list[tuple[Any, ...]]], list[Any]]]:
        with joblib.Parallel(workers) as parallel:
            yield partial(run_tasks, parallel)

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        def call(fn: Callable[[str], Any], x: str) -> Any:
            while True:
                try:
                    return joblib.Parallel(2)([joblib.delayed(fn)(x)])[0]
                except TerminatedWorkerError:
                    pass

        yield call
