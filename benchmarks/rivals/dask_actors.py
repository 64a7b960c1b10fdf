"""Dask's actors: an object on each node of a cluster, which is called directly. The scheduler sees no call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from benchmarks.rivals import rival
from benchmarks.rivals.dask_nodes import NODES, two_nodes
from benchmarks.rivals.rival import Flow, in_order, messages

IN_FLIGHT = 4  # calls of a node
LARGE = 100_000  # bytes of an array that costs less outside of the pickle


class Box:
    """Small items of a message: Dask pickles the box at once, and each item of a list by itself."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items


class Stages:
    """An actor. Its methods run in the worker's event loop, which costs less than a thread of its own for each call."""

    def __init__(self, stages: tuple[Callable[[Any], Any], ...]) -> None:
        self._stages = stages

    async def call(self, items: list[Any]) -> list[Any]:
        """The items behind all stages."""
        made = items
        for stage in self._stages:
            made = [stage(x) for x in made]
        return made

    async def call_boxed(self, box: Box) -> Box:
        """The same, in boxes."""
        return Box(await self.call(box.items))


class Rival(rival.Rival):
    def nodes(self, flow: Flow) -> Iterator[Any]:
        with two_nodes() as client:
            addresses = sorted(client.scheduler_info()["workers"])
            placed = [client.submit(Stages, flow.stages, actor=True, workers=[at], pure=False) for at in addresses]
            actors = cycle([future.result() for future in placed])
            lists = messages(flow.plain(), flow.chunk or 1)
            if flow.nbytes < LARGE:
                calls = (next(actors).call_boxed(Box(items)) for items in lists)
            else:
                calls = (next(actors).call(items) for items in lists)
            for made in in_order(calls, IN_FLIGHT * NODES, lambda call: call.result()):
                yield from made if isinstance(made, list) else made.items
