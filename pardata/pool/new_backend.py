"""The workers of a new pool: processes or threads here, or processes on the nodes of a cluster."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any, Final

from pardata.errors import ConfigError
from pardata.pool.backend import Backend
from pardata.pool.configuration import Setup
from pardata.pool.processes.dispatcher import Dispatcher
from pardata.pool.threads import ThreadBackend

_ON_CLUSTER: Final = "pardata.cluster.start:pool"  # a layer above this one


def new_backend(kind: str, setup: Setup) -> Backend:
    """Return the backend of a pool on this machine. Raises ConfigError for options that it does not have."""
    if kind == "process":
        return Dispatcher(setup)
    if kind != "thread":
        raise ConfigError(f'kind must be "process" or "thread", not {kind!r}')
    for option in ("max_tasks_per_worker", "memory_limit", "timeout_s"):
        if getattr(setup, option) is not None:
            raise ConfigError(f'{option} is for processes: with kind="thread" nothing can be ended')
    return ThreadBackend(setup)


def cluster_backend(cluster: Any, kind: str, setup: Setup, workers: int | None) -> Backend:
    """Return the backend of a pool on a cluster. Raises ConfigError for options that it does not have.

    Parameters
    ----------
    workers : int, optional
        Of each node; default: its cores.
    """
    if kind != "process":
        raise ConfigError(f"a pool with cluster= has processes on each node, not kind={kind!r}")
    if setup.memory_limit is not None:
        raise ConfigError(
            "memory_limit= is for this machine: that of the nodes is given to the cluster, as "
            'cluster=pardata.cluster.Dask(memory_limit="20GB")'
        )
    if setup.record:
        raise ConfigError("record= and dashboard= are for this machine: with cluster= a pool keeps no times of tasks")
    made: Backend = resolve_name(_ON_CLUSTER)(cluster, setup, workers)
    return made


def kind_of_workers(backend: Backend) -> str:
    """Return what the workers of a pool are, in words."""
    if isinstance(backend, Dispatcher):
        return "processes"
    return "threads" if isinstance(backend, ThreadBackend) else "processes on a cluster"
