"""A pool past one machine: the jobs are here, and the pool of each node does their tasks.

      callers -- jobs -> this thread -- tasks --> PoolCrossing ~~~> PoolIsland on a node
              <- futures, results <---- answers <-            <~~~

A task is what a worker of a node does at a time: a call, or a chunk of a map. The nodes' pools tell what has become of
each, and the job that it is of decides here, as in a pool on one machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

from pardata.cluster import wire
from pardata.cluster.engine import ClusterEngine
from pardata.cluster.pool_crossing import HomeCode, HomeFunctions
from pardata.cluster.pool_loop import TaskLoop
from pardata.cluster.pool_messages import PoolCode
from pardata.cluster.port import Frames
from pardata.errors import ConfigError, InternalError
from pardata.pool.arrays.addresses import HomePlaces
from pardata.pool.arrays.work import Work
from pardata.pool.configuration import Setup
from pardata.pool.fed_backend import FedBackend
from pardata.process.interrupts import is_of_handler


class ClusterBackend(FedBackend[TaskLoop]):
    """The callers' side of a pool past one machine.

    Parameters
    ----------
    workers : int, optional
        Of each node; default: its cores.
    """

    def __init__(self, engine: ClusterEngine, setup: Setup, workers: int | None) -> None:
        super().__init__(setup, HomePlaces())
        self._engine = engine
        self._workers = workers
        self._functions = HomeFunctions()

    def start(self) -> None:
        """Have a pool opened on each node. Raises `ConfigError` if there is no cluster, or it cannot be there."""
        self._start(_encode(PoolCode(self.setup, self._workers)))
        self.setup = replace(self.setup, workers=sum(self._loop.crossing.pools.workers.values()) or 1)

    def _open(self, program: Frames) -> TaskLoop:
        return TaskLoop(self.setup, program, self._engine.connect(), self._life, self._lock, self.lazy)

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do nothing: the work is elsewhere."""
        self._loop.effects.check_may_wait(timeout_s)
        return False

    def encode(self, fn: Callable[..., Any]) -> HomeCode:
        """Return the encoded function; errors as for `add`."""
        self._check_process()
        self._life.check_open()
        return self._functions.get(fn)

    def encode_work(self, work: Work, code: Any) -> NoReturn:
        """Raise an error: rows go as items of a map (`pool.arrays.by_value`)."""
        raise InternalError("a pool on a cluster has no jobs on arrays in shared memory")

    def catch_up(self) -> None:
        """Return when all that workers have said until now is shown: it comes with the answers."""
        if not self._is_copy:
            self._loop.console.catch_up()

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of each worker and of each node, and the longest calls."""
        self._check_process()
        with self._lock:
            nodes = [replace(node) for node in list(self._loop.crossing.nodes.values())]
            return {
                **self._loop.log.statistics(),
                "sent_bytes": sum(node.sent_bytes for node in nodes),
                "received_bytes": sum(node.received_bytes for node in nodes),
                "nodes": nodes,
            }


def _encode(code: PoolCode) -> Frames:
    try:
        return wire.encode(code)
    except Exception as error:
        if is_of_handler(error):
            raise
        raise ConfigError(
            f"the pool's initializer or finalizer, or what it shares, cannot be sent to other nodes: {error}"
        ) from error
