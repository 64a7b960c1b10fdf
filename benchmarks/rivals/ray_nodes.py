"""A Ray cluster of two nodes on this machine: two raylets with a CPU each, the first of which is that of the driver."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

NODES = 2
IN_FLIGHT = 4  # calls of a node
_NODE = {"num_cpus": 1, "object_store_memory": 1 << 30}


@contextmanager
def two_nodes() -> Iterator[None]:
    """The cluster; Ray is initialised with it."""
    cluster = Cluster(initialize_head=True, head_node_args=_NODE)
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**_NODE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def results(calls: Iterable[Any]) -> Iterator[Any]:
    """The results in order; those that are ready on the other node come over before they are asked for."""
    waiting: deque[Any] = deque()
    for call in calls:
        waiting.append(call)
        if len(waiting) == IN_FLIGHT * NODES:
            ray.wait(list(waiting), num_returns=1, fetch_local=True)
            yield ray.get(waiting.popleft())
    while waiting:
        yield ray.get(waiting.popleft())


@ray.remote
class Stages:
    """An actor for all stages."""

    def __init__(self, stages: tuple[Callable[[Any], Any], ...]) -> None:
        self._stages = stages

    def call(self, items: list[Any]) -> list[Any]:
        """The items behind all stages."""
        made = items
        for stage in self._stages:
            made = [stage(x) for x in made]
        return made

    def call_one(self, x: Any) -> Any:
        """The same of one, without a list around it."""
        for stage in self._stages:
            x = stage(x)
        return x


def placed(stages: tuple[Callable[[Any], Any], ...]) -> list[Any]:
    """An actor on each node, up."""
    on = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
    actors = [Stages.options(scheduling_strategy=strategy).remote(stages) for strategy in on]  # type: ignore[attr-defined]
    ray.get([actor.call.remote([]) for actor in actors])
    return actors
