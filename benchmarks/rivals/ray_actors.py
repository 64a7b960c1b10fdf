"""Ray actors: a process per stage; results go from one to the next by reference, through the object store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import ray

from benchmarks.rivals import rival
from benchmarks.rivals.ray_base import running, same, stages
from benchmarks.rivals.ray_nodes import placed, results, two_nodes
from benchmarks.rivals.rival import Flow, Link, in_order, messages

IN_FLIGHT = 8


def _bounded(items: Iterator[Any], submit: Callable[[Any], Any]) -> Iterator[Any]:
    """Results in order, with some items under way."""
    return in_order(map(submit, items), IN_FLIGHT, ray.get)


class Rival(rival.Rival):
    writable = False

    def chain(self, flow: Flow) -> Iterator[Any]:
        with running(len(flow.stages)):
            actors = stages(*flow.stages)

            def submit(x: Any) -> Any:
                for actor in actors:
                    x = actor.call.remote(x)
                return x

            yield from _bounded(flow.plain(), submit)

    def nodes(self, flow: Flow) -> Iterator[Any]:
        with two_nodes():
            actors = cycle(placed(flow.stages))
            if (flow.chunk or 1) == 1:
                yield from results(next(actors).call_one.remote(x) for x in flow.plain())
                return
            lists = messages(flow.plain(), flow.chunk or 1)
            for made in results(next(actors).call.remote(items) for items in lists):
                yield from made

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        with running(3):
            left, right, last = stages(*flow.stages, join)

            def submit(x: Any) -> Any:
                stored = ray.put(x)
                return last.call.remote(left.call.remote(stored), right.call.remote(stored))

            yield from _bounded(flow.plain(), submit)

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        with running(1):
            (actor,) = stages(same)
            yield lambda x: ray.get(actor.call.remote(x))
