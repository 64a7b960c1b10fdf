"""A cluster of two nodes on this machine: items begin here, stages run on the nodes, results come back in order.

    source --network--> stages on a node --network--> the measuring process

"cluster_8MB": an array of 8 MB goes there and comes back, and the function does nothing. "cluster_small": small arrays,
64 in a message. "cluster_single": a message for each. "cluster_chain": five stages with 8 MB between them, numbers go
there and come back. "cluster_made": the arrays are made on the nodes. The rivals are actors and tasks (futures) of
the same engine, called so that the nodes always have something to do, and Ray Data for what is made. "cluster_..." is
on Dask, "cluster_ray_..." on Ray; both nodes are processes of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals

WARM_UP = 0.2  # of the items: the nodes start their workers with the first ones
LONGER = 4
FEWEST_ITEMS = 64
LARGE, SMALL = 1_000_000, 100  # entries of float64


def same(x: Any) -> Any:
    return x


def filled(number: Any) -> Any:
    return np.full(LARGE, number[0])


def add_one(x: Any) -> Any:
    return x + 1


def mean(x: Any) -> Any:
    return x[:1] + x[-1:]


@dataclass(frozen=True)
class Work:
    """Arrays of `n` entries, all of them the item's number, through some stages.

    Parameters
    ----------
    n : entries of an item of the source
    first : called with the number, gives the first entry of the result
    nbytes : of an item, where it is largest
    chunk : items of a message
    engine : of the cluster
    """

    n: int
    stages: tuple[Callable[[Any], Any], ...]
    first: Callable[[int], float]
    nbytes: int
    chunk: int
    engine: str = "dask"

    def _items(self, seconds: float, empty: Callable[..., Any]) -> Iterator[Any]:
        end = time.perf_counter() + seconds
        i = 0
        while i < FEWEST_ITEMS * self.chunk or time.perf_counter() < end:
            x = empty(self.n)
            x[...] = i
            yield x
            i += 1

    def _check(self, x: Any, i: int) -> None:
        assert x[0] == x[-1] == self.first(i), f"item {i} is {x[0]} to {x[-1]}, not {self.first(i)}"

    def measure(self, rival: Rival, seconds: float) -> Outcome:
        """Items per second."""
        items = partial(self._items, LONGER * seconds)
        flow = Flow(items, self.nbytes, self.stages, chunk=self.chunk, engine=self.engine)
        _, result = arrivals(rival.nodes(flow), self._check, WARM_UP)
        return result


WORKS = {
    "8MB": ("8 MB there and back, a function that does nothing", Work(LARGE, (same,), float, 8 * LARGE, 1)),
    "small": ("800 B, 64 in a message", Work(SMALL, (add_one,), lambda i: i + 1.0, 8 * SMALL, 64)),
    "single": ("800 B, each by itself", Work(SMALL, (add_one,), lambda i: i + 1.0, 8 * SMALL, 1)),
    "chain": (
        "five stages with 8 MB between them; numbers there and back",
        Work(1, (filled, add_one, add_one, add_one, mean), lambda i: 2.0 * (i + 3), 8 * LARGE, 1),
    ),
    "made": ("8 MB made on the nodes", Work(1, (filled,), float, 8 * LARGE, 1)),
}


def _cases(prefix: str, engine: str, sides: tuple[str, ...], makers: tuple[str, ...] = ()) -> Iterator[Case]:
    """The cases of an engine; `makers`: sides that have sources of their own."""
    for name, (title, work) in WORKS.items():
        measure = replace(work, engine=engine).measure
        rivals = sides + makers if name == "made" else sides
        yield Case(prefix + name, title, "items/s", ("pardata", *rivals), measure, quick=())


CASES = (
    *_cases("cluster_", "dask", ("dask actors", "dask distributed")),
    *_cases("cluster_ray_", "ray", ("ray actors", "ray tasks"), ("ray data",)),
)
