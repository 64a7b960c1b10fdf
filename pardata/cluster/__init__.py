"""Past one machine: islands of the local engine on the nodes of a cluster, over an engine that is there already."""

from __future__ import annotations

from pardata.cluster.dask import Dask
from pardata.cluster.ray import Ray

__all__ = ["Dask", "Ray"]
