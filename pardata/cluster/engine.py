"""An engine of a cluster, as runs and pools get at its nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from pardata.cluster.port import NewPort
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Elsewhere, Run, RunOptions


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
    """What `engine=` and `cluster=` take: the options of an engine, which give a connection."""

    @abstractmethod
    def connect(self) -> Connection:
        """Connect to the cluster. Raises ConfigError if there is none."""

    def start(self, plan: Plan, options: RunOptions) -> Run:
        """Start a run."""
        from pardata.cluster.run import ClusterRun

        return ClusterRun(plan, options, *self.connect())
