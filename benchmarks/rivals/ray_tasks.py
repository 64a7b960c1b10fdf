"""Ray tasks. Large arrays are put into the object store once and read there by the workers, without a copy.

map_array: 16 tasks that get the stored array and a range, as Ray's patterns advise against many small tasks and against
passing a large argument by value. The results are put together by the driver. A killed worker's task is retried by Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray

from benchmarks.rivals import rival
from benchmarks.rivals.ray_base import running
from benchmarks.rivals.ray_nodes import results, two_nodes
from benchmarks.rivals.rival import ArrayWork, Flow, Pool, in_order, messages

CHUNKS = 16


@ray.remote
def call(fn: Callable[[Any], Any], x: Any) -> Any:
    return fn(x)


@ray.remote
def call_many(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return [fn(x) for x in items]


@ray.remote
def part(fn: Callable[[Any], Any], a: Any, lo: int, hi: int) -> Any:
    return fn(a[lo:hi])


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with running(workers):
            fn = ray.put(flow.stages[0])
            calls = (call.remote(fn, x) for x in flow.plain())
            yield from in_order(calls, 2 * workers, ray.get)  # bounded, as Ray's pattern on pending tasks advises

    def nodes(self, flow: Flow) -> Iterator[Any]:
        """One task for each stage and message; the results between stay in the object store."""
        with two_nodes():
            functions, size = [ray.put(fn) for fn in flow.stages], flow.chunk or 1
            task = call if size == 1 else call_many

            def begin(made: Any) -> Any:
                for fn in functions:
                    made = task.options(scheduling_strategy="SPREAD").remote(fn, made)
                return made

            items = flow.plain() if size == 1 else messages(flow.plain(), size)
            for made in results(map(begin, items)):
                yield from [made] if size == 1 else made

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        def map_(fn: Callable[[Any], Any], items: Any, chunksize: int | None) -> list[Any]:
            stored, size = ray.put(fn), chunksize or -(-len(items) // (4 * workers))
            parts = [call_many.remote(stored, items[at : at + size]) for at in range(0, len(items), size)]
            return [x for part in ray.get(parts) for x in part]

        with running(workers):
            yield Pool(map_, lambda fn, x: ray.get(call.remote(fn, x)))

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        with running(workers):
            stored, stored_fn = ray.put(work.filled()), ray.put(work.fn)

            def call() -> Any:
                ranges = work.ranges(CHUNKS)
                return np.concatenate(ray.get([part.remote(stored_fn, stored, lo, hi) for lo, hi in ranges]))

            yield call

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        with running(2):
            yield lambda fn, x: ray.get(call.remote(fn, x), timeout=60)
