"""The interface of a cluster's engine: places, a way there and back, and word of a node that is gone. Pure.

      home: RemoteProgram --call--> ClusterPort ~~~~ network ~~~~> island on a node
                          <-events-                (NodeJoined, Returned, NodeLost, EngineLost)

Everything else - numbers, credits, order, what is done again - is pardata's own, and the same for every engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

FINISH: Final = -1
"""The number of the last call to an island: it ends its run, and answers with what is left to tell."""

Frames = list[Any]
"""A message on the network: bytes, and arrays of uint8 behind them (see `cluster.wire`)."""


@dataclass(frozen=True, slots=True)
class NodeJoined:
    """A node has an open island.

    Attributes
    ----------
    node : str
        It is never used again: an island that takes the place of a lost one has a name of its own.
    memory_bytes : int
        Of shared memory that the island may use.
    """

    node: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The answer to a call. It may come late, or twice."""

    node: str
    number: int
    frames: Frames


@dataclass(frozen=True, slots=True)
class NodeLost:
    """A node is gone with all that it had, as far as the engine can tell: answers may come all the same."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine is gone, and all nodes with it: none will come."""

    why: str


PortEvent = NodeJoined | Returned | NodeLost | EngineLost


class ClusterPort(Protocol):
    """The way to the islands of one stage.

    Events are told by a function that may be called in any thread, also while a method of the port runs.
    """

    def open(self, code: Frames, on_event: Callable[[PortEvent], None]) -> None:
        """Open an island on each node, and on each that joins later; returns when the first ones have `NodeJoined`.

        Raises
        ------
        ConfigError
            There is no node, or one cannot run the code; no island is left open.
        """

    def call(self, node: str, number: int, frames: Frames) -> None:
        """Send a message to an island; `Returned` or `NodeLost` follows."""

    def close(self) -> None:
        """End all islands, finished or not; a second call does nothing. No event follows."""


NewPort = Callable[[int], ClusterPort]
"""Returns a port, one for each island of a run; it is told how many there are."""
