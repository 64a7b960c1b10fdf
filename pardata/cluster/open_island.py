"""An island as a node opens it: that of a stream, or that of a pool, as its code says."""

from __future__ import annotations

from typing import Protocol

from pardata.cluster import wire
from pardata.cluster.island import OnAnswer, OpenIsland
from pardata.cluster.pool_island import PoolIsland
from pardata.cluster.pool_messages import PoolCode
from pardata.cluster.port import Frames


class HeldIsland(Protocol):
    """What a node holds: when it lets go of it, the work there ends."""

    def take(self, number: int, frames: Frames) -> None:
        """Take in a message, or `port.FINISH`, after which there is none. Never waits."""

    def close(self) -> None:
        """End the work, whatever it is at. Returns when its processes are gone."""


def open_island(frames: Frames, memory_limit: int | None, on_answer: OnAnswer) -> HeldIsland:
    """Open an island.

    Parameters
    ----------
    frames : list
        Its code, as `port.ClusterPort.open` has it.
    memory_limit : int, bytes, optional
        Of shared memory.
    on_answer : callable
        Told the number of a message and the frames of its answer, in any thread.
    """
    code = wire.decode(list(frames))
    if isinstance(code, PoolCode):
        return PoolIsland(code, memory_limit, on_answer)
    return OpenIsland(frames, memory_limit, on_answer)
