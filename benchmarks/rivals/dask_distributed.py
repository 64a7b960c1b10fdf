"""Dask's distributed scheduler on this machine: one process with one thread per worker, no dashboard.

map_array: the parts are scattered to the workers once; a call maps over them and gathers. A killed worker's task is
given to another one by the scheduler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import distributed
import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.dask_nodes import NODES, two_nodes
from benchmarks.rivals.rival import ArrayWork, Flow, Link, Pool, in_order, messages, same

CHUNKS = 16
IN_FLIGHT = 4  # items or messages of a node


@contextmanager
def _client(workers: int) -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield client


def _call_many(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return [fn(x) for x in items]


class Rival(rival.Rival):
    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        with _client(workers) as client:
            scattered = (client.scatter(x, direct=True) for x in flow.plain())
            calls = (client.submit(flow.stages[0], x, pure=False) for x in scattered)
            yield from in_order(calls, 2 * workers, distributed.Future.result)

    def nodes(self, flow: Flow) -> Iterator[Any]:
        with two_nodes() as client:

            def begin(items: list[Any]) -> Any:
                made: Any = items
                for stage in flow.stages:
                    made = client.submit(_call_many, stage, made, pure=False)
                return made

            calls = (begin(items) for items in messages(flow.plain(), flow.chunk or 1))
            for made in in_order(calls, IN_FLIGHT * NODES, distributed.Future.result):
                yield from made

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with _client(1) as client:
            yield lambda x: client.submit(same, x, pure=False).result()

    @contextmanager
    def pool(self, workers: int) -> Iterator[Pool]:
        with _client(workers) as client:

            def map_(fn: Callable[[Any], Any], items: Any, chunksize: int | None) -> list[Any]:
                size = chunksize or -(-len(items) // (4 * workers))
                parts = [items[at : at + size] for at in range(0, len(items), size)]
                futures = client.map(_call_many, [fn] * len(parts), parts, pure=False)
                return [x for part in client.gather(futures) for x in part]

            yield Pool(map_, lambda fn, x: client.submit(fn, x, pure=False).result())

    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        a = work.filled()
        with _client(workers) as client:
            parts = client.scatter(np.array_split(a, CHUNKS), direct=True)
            yield lambda: np.concatenate(client.gather(client.map(work.fn, parts, pure=False), direct=True))

    @contextmanager
    def survive(self) -> Iterator[Callable[[Callable[[str], Any], str], Any]]:
        with _client(2) as client:
            yield lambda fn, x: client.submit(fn, x, pure=False).result(timeout=60)
