"""An engine of a cluster: its options, by which runs and pools get at its nodes."""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pardata.cluster.port import NewPort
from pardata.errors import ConfigError
from pardata.memory.sizes import count_bytes
from pardata.pipeline.plan.numbers import is_count
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Elsewhere, Run, RunOptions
from pardata.process.capacity import loading

_ANSWER_S: Final = 5.0  # for whoever listens at an address


class Connection(NamedTuple):
    """A cluster that is there.

    Attributes
    ----------
    new_port : callable
        See `port.NewPort`.
    close : callable, optional
        Called when all islands have ended.
    """

    new_port: NewPort
    close: Callable[[], object] | None = None


class ClusterEngine(Elsewhere):
    """The options of an engine, which give a connection: a value of `engine=` and of `cluster=`."""

    def __init__(self, address: Any = None, *, nodes: int | None = None, memory_limit: float | str | None = None):
        if nodes is not None and not is_count(nodes, 1):
            raise ConfigError(f"{type(self).__name__}: nodes must be an int of at least 1, not {nodes!r}")
        self._address = address
        self._nodes = nodes
        self._memory_limit = None if memory_limit is None else count_bytes("memory_limit", memory_limit)

    @abstractmethod
    def connect(self) -> Connection:
        """Connect to the cluster. Raises ConfigError if there is none."""

    def start(self, plan: Plan, options: RunOptions) -> Run:
        """Start a run."""
        with loading("a run on a cluster"):
            from pardata.cluster.run import ClusterRun

        return ClusterRun(plan, options, *self.connect())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r}, nodes={self._nodes}, memory_limit={self._memory_limit})"


def check_listens(host: str, port: int) -> None:
    """Raise an OSError in a few seconds if nobody listens there: engines would try for half a minute and more."""
    socket.create_connection((host.strip("[]"), port), _ANSWER_S).close()
