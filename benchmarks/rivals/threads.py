"""Threads and `queue.Queue`; `ThreadPoolExecutor` for pools. NumPy's functions release the interpreter's lock.

For `map_array`: 64 chunks into one array that is there before, so that nothing is copied; the best threads can do.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rivals.queues import QueueRival
from benchmarks.rivals.rival import ArrayWork, Flow, Pool, in_order

MAXSIZE = 4
CHUNKS = 64


class Rival(QueueRival):
    def queue(self, nbytes: int) -> Any:
        return queue.Queue(MAXSIZE)

    def start(self, target: Callable[..., None], *args: Any) -> Any:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        return thread

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with ThreadPoolExecutor(workers) as executor:
            calls = (executor.submit(flow.stages[0], x) for x in flow.plain())
            yield from in_order(calls, 2 * workers, Future.result)

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with ThreadPoolExecutor(workers) as executor:
            yield Pool(
                lambda fn, items, chunksize: list(executor.map(fn, items)),
                lambda fn, x: executor.submit(fn, x).result(),
            )

    @contextmanager
    def map_new_arrays(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Callable[[], Any]]]:
        def chunk(a: Any, out: Any, part: tuple[int, int]) -> None:
            lo, hi = part
            out[lo:hi] = work.fn(a[lo:hi])

        def call(a: Any, out: Any) -> Any:
            list(executor.map(partial(chunk, a, out), work.ranges(CHUNKS)))
            return out

        def new() -> Callable[[], Any]:
            a = work.filled()
            return partial(call, a, np.empty_like(a))

        with ThreadPoolExecutor(workers) as executor:
            yield new

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        with self.map_new_arrays(work, workers) as new:
            yield new()
