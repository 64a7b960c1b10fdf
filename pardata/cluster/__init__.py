"""Past one machine: islands of the local engine on the nodes of a cluster, over an engine that is there already."""

from __future__ import annotations

from pardata.cluster.dask import Dask
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Run, RunOptions, engines

__all__ = ["Dask"]


def _dask(plan: Plan, options: RunOptions) -> Run:
    return Dask().start(plan, options)


def enter_cluster_engines() -> None:
    """Enter them in the table of engines. Each is loaded when it is used."""
    engines["dask"] = _dask
