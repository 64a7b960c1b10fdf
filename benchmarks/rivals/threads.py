"""Threads and `queue.Queue`; `ThreadPoolExecutor` for pools. NumPy's functions release the interpreter's lock.

For `map_array`: 64 chunks into one array that is there before, so that nothing is copied; the best threads can do.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.rivals.queues import QueueRival
from benchmarks.rivals.rival import Flow, Pool

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
            waiting: deque[Future[Any]] = deque()
            for x in flow.plain():
                waiting.append(executor.submit(flow.stages[0], x))
                if len(waiting) == 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with ThreadPoolExecutor(workers) as executor:
            yield Pool(
                lambda fn, items, chunksize: list(executor.map(fn, items)),
                lambda fn, x: executor.submit(fn, x).result(),
            )

    @contextmanager
    def map_array(
        self, fn: Callable[[Any], Any], fill: Callable[[Any], None], shape: tuple[int, ...], workers: int
    ) -> Iterator[Callable[[], Any]]:
        a = np.empty(shape)
        fill(a)
        out = np.empty_like(a)
        bounds = np.linspace(0, shape[0], min(CHUNKS, shape[0]) + 1).astype(int).tolist()

        def chunk(lo: int, hi: int) -> None:
            out[lo:hi] = fn(a[lo:hi])

        with ThreadPoolExecutor(workers) as executor:

            def call() -> Any:
                list(executor.map(chunk, bounds[:-1], bounds[1:]))
                return out

            yield call
