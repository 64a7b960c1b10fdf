"""The start of runs and pools on each engine of clusters, by which `pipeline.run` and `pool.new_backend` find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pardata.cluster.dask import Dask
from pardata.cluster.engine import ClusterEngine
from pardata.cluster.pool_backend import ClusterBackend
from pardata.cluster.ray import Ray
from pardata.errors import ConfigError
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Run, RunOptions
from pardata.pool.configuration import Setup

_ENGINES: Final[dict[str, Callable[[], ClusterEngine]]] = {"dask": Dask, "ray": Ray}


def dask(plan: Plan, options: RunOptions) -> Run:
    """Start it on the cluster of the current Dask client."""
    return Dask().start(plan, options)


def ray(plan: Plan, options: RunOptions) -> Run:
    """Start it on the cluster that Ray is initialised with."""
    return Ray().start(plan, options)


def pool(cluster: Any, setup: Setup, workers: int | None) -> ClusterBackend:
    """Return what feeds the workers of a pool on a cluster; see `ClusterBackend`."""
    if isinstance(cluster, str) and cluster in _ENGINES:
        cluster = _ENGINES[cluster]()
    if not isinstance(cluster, ClusterEngine):
        known = ", ".join(map(repr, sorted(_ENGINES)))
        raise ConfigError(
            f"cluster must be {known}, or pardata.cluster.Dask(client or address), pardata.cluster.Ray(address), not "
            f"{cluster!r}"
        )
    return ClusterBackend(cluster, setup, workers)
