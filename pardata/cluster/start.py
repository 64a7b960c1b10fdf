"""The start of a run on each engine of clusters, by which `pipeline.run` finds it."""

from __future__ import annotations

from pardata.cluster.dask import Dask
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Run, RunOptions


def dask(plan: Plan, options: RunOptions) -> Run:
    """Start it on the cluster of the current Dask client."""
    return Dask().start(plan, options)
