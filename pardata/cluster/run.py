"""A run on a cluster: the engine of processes runs what stays at home, and the same engine each island on its node."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from pardata.cluster import wire
from pardata.cluster.crossing import Crossing
from pardata.cluster.messages import IslandCode
from pardata.cluster.port import Frames, NewPort
from pardata.cluster.remote_program import Remote
from pardata.codec.unpicklable import explain_unpicklable
from pardata.engines.processes.engine import ProcessRun
from pardata.errors import ConfigError
from pardata.memory.budget import available_bytes
from pardata.pipeline.home import home_plan
from pardata.pipeline.islands import Island, islands_of
from pardata.pipeline.plan.node import MOST_CONCURRENT, Kind, Node
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.replica import Replica
from pardata.pipeline.run import RunOptions
from pardata.process.interrupts import is_of_handler
from pardata.runtime.events import Spoken
from pardata.runtime.node_statistics import NodeStatistics
from pardata.runtime.progress import StageStatistics

_SHARE_OF_HOME: Final = 4  # so much of home's memory limit may be away, over all nodes
_MORE_CREDITS: Final = 2  # than the stages of an island have room for: on their way there and back


class ClusterRun(ProcessRun):
    """A run on a cluster.

    Parameters
    ----------
    new_port : callable
        Returns a port, one for each island of the plan; it is told how many there are.
    close_engine : callable, optional
        Called when all islands have ended.
    """

    def __init__(
        self, plan: Plan, options: RunOptions, new_port: NewPort, close_engine: Callable[[], object] | None = None
    ) -> None:
        self._close_engine = close_engine
        self._crossings: list[Crossing] = []
        try:
            super().__init__(self._leave(plan, options, new_port), options)
        except BaseException:
            self._close_crossings()
            raise

    def _leave(self, plan: Plan, options: RunOptions, new_port: NewPort) -> Plan:
        """Open the islands; return the plan of what stays at home. Refuses what cannot leave before anything starts."""
        islands = islands_of(plan)
        codes = [_code_of(island, options.random_seed) for island in islands]
        stand_ins = []
        show = partial(_show, weakref.ref(self))  # threads hold it: a run that is dropped ends
        most_bytes = int(options.memory_limit or available_bytes() // 2) // (_SHARE_OF_HOME * max(1, len(islands)))
        for island, code in zip(islands, codes, strict=True):
            credits = _credits(island)
            crossing = Crossing(new_port(len(islands)), island.name, credits, most_bytes, show)
            self._crossings.append(crossing)
            nodes = crossing.open(code)
            most_away = min(MOST_CONCURRENT, credits * max(2, nodes))
            remote = Remote(crossing, len(island.outlets))
            stand_ins.append(Node(Kind.MAP, "island", remote, workplace="thread", concurrency=most_away))
        if not islands:
            return plan
        away: dict[str, Callable[[], StageStatistics]] = {
            stage.name: partial(crossing.counts_of, stage.name, stage.workers)
            for island, crossing in zip(islands, self._crossings, strict=True)
            for stage in island.stages
        }
        return home_plan(plan, islands, stand_ins, away, partial(_nodes_of, self._crossings))

    def close(self) -> None:
        """End the run, here and on all nodes."""
        try:
            super().close()
        finally:
            self._close_crossings()

    def _close_crossings(self) -> None:
        for crossing in self._crossings:
            crossing.close()
        close_engine, self._close_engine = self._close_engine, None  # later it may be the caller's
        if close_engine is not None:
            close_engine()


def _show(home: weakref.ref[ClusterRun], event: Spoken) -> None:
    """Show what a worker of a node has said."""
    run = home()
    if run is not None and run._parts.console is not None:
        run._parts.console.show(event)


def _nodes_of(crossings: list[Crossing]) -> list[NodeStatistics]:
    """Return the counts of all nodes, as they are now."""
    return [replace(node) for crossing in crossings for node in list(crossing.nodes.values())]


def _credits(island: Island) -> int:
    """Return how many messages keep all workers of an island busy."""
    return _MORE_CREDITS + sum(stage.width + stage.workers for stage in island.stages)


def _code_of(island: Island, seed: int) -> Frames:
    """Return the code of an island. Raises ConfigError, which names the stage that cannot leave."""
    try:
        return wire.encode(IslandCode(Replica(island), len(island.outlets), seed))
    except Exception as error:
        if is_of_handler(error):
            raise
        for stage in island.stages:
            _check_leaves(stage.name, stage.node)
        raise ConfigError(f"{island.name!r} cannot be sent to other nodes: {error}") from error


def _check_leaves(name: str, node: Node) -> None:
    try:
        wire.encode(node.fn)
    except wire.LocalOnly as error:
        raise ConfigError(f"stage {name!r} ({node.where}) cannot run on other nodes: {error}") from error
    except Exception as error:
        if is_of_handler(error):
            raise
        raise ConfigError(
            f"stage {name!r} ({node.where}) cannot be sent to other nodes: {explain_unpicklable(node.fn)} ({error}); "
            f'on="home" has it run here'
        ) from error
