"""The notes of home on the tasks of a pool on nodes: errors with their node, and counts of workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pardata.errors import WorkerLostError
from pardata.pool.jobs.job import Death
from pardata.pool.statistics import Log
from pardata.runtime.carried_errors import add_note
from pardata.runtime.faults import Fault
from pardata.runtime.node_statistics import shown


def at_node(fault: Fault, node: str) -> Fault:
    """Return a fault whose place names the node."""
    return replace(fault, place=f"{fault.place or fault.stage} on node {shown(node)}")


class WorkerDeath(Death):
    """The death of a worker of a node."""

    def __init__(self, node: str, begin: int, end: int, status: int | None, peak_bytes: int | None) -> None:
        super().__init__(begin, end, status, peak_bytes)
        self._node = node

    def error(self, what: str, deaths: int) -> WorkerLostError:
        error = super().error(what, deaths)
        add_note(error, f"on node {shown(self._node)}")
        return error


class NodeDeath(Death):
    """The loss of a node that had the items of a task; `why`: that of the last one."""

    def __init__(self, begin: int, end: int, why: str) -> None:
        super().__init__(begin, end, None, None)
        self._why = why

    def error(self, what: str, deaths: int) -> WorkerLostError:
        error = WorkerLostError(f"the pool, at {what}: {self._why}")
        error.items = range(self.begin, self.end)
        return error


@dataclass
class NodeLog(Log):
    """The workers of all nodes, each from its first task on."""

    places: dict[tuple[str, int], int] = field(default_factory=dict)

    def worker_of(self, node: str, index: int) -> int:
        """Return the entry of a worker of a node."""
        place = node, index
        if place not in self.places:
            self.places[place] = len(self.workers)
            self.workers.append({"tasks": 0, "start_s": 0.0, "work_s": 0.0, "deaths": 0})
        return self.places[place]
