"""Ray's Compiled Graph: actors bound once, channels in shared memory that are reused for every item.

A result must be dropped before its channel is used again, so arrivals are copied: that is what its documentation says
of NumPy arrays. The graph is not torn down, the processes are ended with the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import ray
from ray.dag import InputNode

from benchmarks.rivals import rival
from benchmarks.rivals.ray_base import running, same, stages
from benchmarks.rivals.rival import Flow, Link, in_order

IN_FLIGHT = 4
SPARE_BYTES = 1_000_000  # its default; a buffer that is just large enough makes it wait for ever


def _compiled(node: Any, nbytes: int) -> Any:
    return node.experimental_compile(
        _buffer_size_bytes=nbytes + SPARE_BYTES, _max_inflight_executions=IN_FLIGHT, _submit_timeout=60
    )


def _taken(reference: Any) -> Any:
    return np.array(ray.get(reference))


def _bounded(items: Iterator[Any], graph: Any) -> Iterator[Any]:
    return in_order(map(graph.execute, items), IN_FLIGHT, _taken)


class Rival(rival.Rival):
    writable = False

    def chain(self, flow: Flow) -> Iterator[Any]:
        with running(len(flow.stages)):
            actors = stages(*flow.stages)
            with InputNode() as node:
                for actor in actors:
                    node = actor.call.bind(node)
            yield from _bounded(flow.plain(), _compiled(node, flow.nbytes))

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        with running(3):
            left, right, last = stages(*flow.stages, join)
            with InputNode() as node:
                end = last.call.bind(left.call.bind(node), right.call.bind(node))
            yield from _bounded(flow.plain(), _compiled(end, flow.nbytes))

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with running(1):
            (actor,) = stages(same)
            with InputNode() as node:
                end = actor.call.bind(node)
            graph = _compiled(end, nbytes)
            yield lambda x: _taken(graph.execute(x))
