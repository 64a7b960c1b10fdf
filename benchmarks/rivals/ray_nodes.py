"""A Ray cluster of two nodes on this machine: two raylets with a CPU each, the first of which is that of the driver.

Its workers have no niceness (15 by default): here they share two cores with the driver. What a Ray cluster starts
beside its nodes takes both cores for seconds, so a flow begins after that.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benchmarks.processes import cpu_s, descendants

NODES = 2
IN_FLIGHT = 4  # calls of a node
_NODE = {"num_cpus": 1, "object_store_memory": 1 << 30}
_LOOK_S = 0.5
_QUIET = 0.1  # of a core
_PATIENCE_S = 25.0


@contextmanager
def two_nodes() -> Iterator[None]:
    """The cluster; Ray is initialised with it."""
    cluster = Cluster(initialize_head=True, head_node_args=_NODE | {"_system_config": {"worker_niceness": 0}})
    try:
        for _ in range(NODES - 1):
            cluster.add_node(**_NODE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        _wait_for_quiet()
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def _wait_for_quiet() -> None:
    """Return when the processes of the cluster have nearly nothing to do any more, or after some time."""
    end, before = time.perf_counter() + _PATIENCE_S, -1.0
    while (now := sum(map(cpu_s, descendants(os.getpid())))) - before > _QUIET * _LOOK_S or before < 0:
        if time.perf_counter() > end:
            return
        before = now
        time.sleep(_LOOK_S)


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
