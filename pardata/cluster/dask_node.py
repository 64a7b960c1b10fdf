"""A Dask worker's side: the actor that holds an island."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import Any, Final

import dask
import numpy as np
from distributed import Worker, get_worker
from distributed.comm import Comm

from pardata.cluster.dask_link import Link
from pardata.cluster.opening import HeldIsland, open_island
from pardata.cluster.port import Frames
from pardata.errors import BrokenError
from pardata.memory.array import find_anchor
from pardata.memory.born.nursery import Reception
from pardata.memory.budget import available_bytes

# The nanny counts the island's shared memory as the worker's own, and pauses it at 0.8 of its limit.
_SHARE_OF_WORKER: Final = 2
_LOOK_S: Final = 1.0  # whether the scheduler has let go of an island

EXCHANGE: Final = "pardata-exchange"  # a worker's operation: its connection is an island's from then on


class DaskIsland:
    """An island as an actor: its methods are called in the event loop of the worker, and wait there for their answers.

    The worker holds it until its scheduler lets go of it, as when the client is gone: then the island's run ends, also
    if calls are under way.
    """

    def __init__(self) -> None:
        self._island: HeldIsland | None = None
        self._reception: Reception | None = None
        self._links: list[Link] = []  # to home: one, or none
        self._answers: dict[int, asyncio.Future[Frames]] = {}  # to those that came in calls
        self._watching: asyncio.Task[None] | None = None  # an event loop holds tasks weakly
        self._closing: asyncio.Task[None] | None = None

    async def open(self, key: str, home: dict[str, str], memory_limit: int | None, share: int, *code: Any) -> int:
        """Open the island; return the bytes of shared memory that it may use, as one of so many that share them.

        Raises
        ------
        ConfigError
            The versions here are not those of `home`, or the code cannot be loaded.
        """
        limit_bytes = (memory_limit or _own_limit()) // share
        loop, links, answers = asyncio.get_running_loop(), self._links, self._answers

        def on_answer(number: int, frames: Frames) -> None:
            if links:
                links[0].put(number, frames)
                return
            with contextlib.suppress(RuntimeError):  # the loop is closed: the worker ends
                loop.call_soon_threadsafe(_settle, answers, number, frames)

        environment = dask.config.get("distributed.nanny.pre-spawn-environ", {})
        self._island = await asyncio.to_thread(
            open_island, home, environment, limit_bytes, owned(list(code)), on_answer
        )
        self._reception = Reception()
        worker = get_worker()
        _islands[key] = self
        worker.handlers[EXCHANGE] = _exchange
        self._watching = asyncio.create_task(self._end_with(worker))
        return limit_bytes

    async def _end_with(self, worker: Worker) -> None:
        """End the run when the worker holds this actor no more: a call would hold it until its answer."""
        while any(held is self for held in worker.state.actors.values()):
            await asyncio.sleep(_LOOK_S)
        await self.close()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokenError("the island was closed"))

    async def exchange(self, comm: Comm) -> None:
        """Take messages from a connection, and give it their answers; the island's run ends with it."""
        if self._island is None or self._reception is None:
            raise BrokenError("the island is not open")
        self._reception.enter()  # this is the task that reads from it
        link = Link(comm)
        self._links.append(link)
        try:
            with contextlib.suppress(OSError):  # home has closed it, or is gone
                await link.read(self._island.take)
        finally:
            link.close()
            await self.close()

    async def call(self, number: int, *frames: Any) -> Frames:
        """Send a message to the island; return its answer: for a home that reaches none but the scheduler."""
        if self._island is None or self._reception is None:
            raise BrokenError("the island is not open")
        self._reception.enter()  # the task that reads from this connection calls this, and reads the next message too
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        self._island.take(number, list(frames))
        return aligned(await answer)

    async def close(self) -> None:
        """End the island's run, whatever it is at; returns when its processes are gone."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._island is not None:
            await asyncio.to_thread(self._island.close)
        if self._reception is not None:
            self._reception.close()


_islands: Final[weakref.WeakValueDictionary[str, DaskIsland]] = weakref.WeakValueDictionary()  # of this process


async def _exchange(comm: Comm, key: str) -> None:
    """Give a connection to an island, until it is closed. Dask keeps its handlers for ever, so this holds none."""
    await _islands[key].exchange(comm)


def aligned(frames: Frames) -> Frames:
    """Return frames so that each array arrives in memory of its own: Dask reads the first array with what is bytes."""
    return [np.frombuffer(frames[0], np.uint8), *frames[1:]] if len(frames) > 1 else frames


def owned(frames: Frames) -> Frames:
    """Return frames outside of blocks: a function's arrays are its worker's own, those in blocks all workers'."""
    return [part if isinstance(part, bytes) or find_anchor(part) is None else np.array(part) for part in frames]


def _settle(answers: dict[int, asyncio.Future[Frames]], number: int, frames: Frames) -> None:
    future = answers.pop(number, None)
    if future is not None and not future.done():
        future.set_result(frames)


def _own_limit() -> int:
    """Return how much shared memory fits the limit of this Dask worker, if it has one."""
    worker_bytes = get_worker().memory_manager.memory_limit
    return int(worker_bytes or available_bytes()) // _SHARE_OF_WORKER
