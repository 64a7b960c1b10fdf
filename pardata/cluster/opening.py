"""An island is opened on a node, whatever the engine of its cluster."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from pardata.cluster import wire
from pardata.cluster.island import OnAnswer, OpenIsland
from pardata.cluster.pool_island import PoolIsland
from pardata.cluster.pool_messages import PoolCode
from pardata.cluster.port import Frames
from pardata.errors import ConfigError, PardataError
from pardata.process.environment import limit


class HeldIsland(Protocol):
    """An island as a node holds it: when the node lets go of it, the work there ends."""

    def take(self, number: int, frames: Frames) -> None:
        """Take in a message, or `port.FINISH`, after which there is none. Never waits."""

    def close(self) -> None:
        """End the work, whatever it is at. Returns when its processes are gone."""


def versions() -> dict[str, str]:
    """Return the versions that have to be the same at home and on every node."""
    python, numpy = platform.python_version(), np.__version__
    own: str = sys.modules["pardata"].__version__
    return {"Python": python.rpartition(".")[0], "NumPy": numpy.rpartition(".")[0], "pardata": own}


def open_island(
    home: dict[str, str], engine: Mapping[str, object], memory_bytes: int, code: Frames, on_answer: OnAnswer
) -> HeldIsland:
    """Open an island in this process: that of a stream, or that of a pool, as its code says.

    Parameters
    ----------
    home : dict
        The versions there.
    engine : mapping
        The variables of the environment that the cluster's engine sets: they are no wish of the user's.

    Raises
    ------
    ConfigError
        The versions here are other ones, or a file is missing here.
    """
    here = versions()
    if here != home:
        told = ", ".join(f"{name} {here[name]} and {home[name]}" for name in home if home[name] != here[name])
        raise ConfigError(f"it and the calling process have different versions: {told}")
    for name, value in engine.items():
        if os.environ.get(name) == str(value):
            limit(name, str(value))
    try:
        return island_of(code, memory_bytes, on_answer)
    except OSError as error:  # as it is, it would pass for a lost connection
        raise ConfigError(f"it cannot run the stages: {type(error).__name__}: {error}") from error


def island_of(code: Frames, memory_bytes: int | None, on_answer: OnAnswer) -> HeldIsland:
    """Return the island of a code.

    Parameters
    ----------
    code : list
        As `port.ClusterPort.open` has it.
    memory_bytes : int, optional
        Of shared memory.
    on_answer : callable
        Told the number of a message and the frames of its answer, in any thread.
    """
    decoded = wire.decode(list(code))
    if isinstance(decoded, PoolCode):
        return PoolIsland(decoded, memory_bytes, on_answer)
    return OpenIsland(code, memory_bytes, on_answer)


def refusal(node: str, error: BaseException) -> ConfigError:
    """Return what the caller is told of a node where no island could be opened."""
    if isinstance(error, PardataError):
        return ConfigError(f"node {node}: {error}")
    return ConfigError(
        f"node {node} cannot run the stages: {type(error).__name__}: {error}. Does it have pardata, and all that the "
        f"functions import?"
    )
