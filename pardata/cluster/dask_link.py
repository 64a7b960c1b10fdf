"""A connection of Dask's that home and an island have to themselves: messages go there, and answers come back.

      put(number, frames) -> waiting -> one write ~~~~> one read -> take(number, frames)

A call of an actor has a connection, tasks and frames of its own, and an answer for each. Here a message is a part of a
write, and what is put before the event loop comes to it goes along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from distributed.comm import Comm
from distributed.protocol import to_serialize

from pardata.cluster.bundle import Bundle, pack, take_bundle, unpack
from pardata.cluster.handover import Handover
from pardata.cluster.port import Frames

_INLINE_BYTES: Final = 1 << 16  # of a bundle without arrays: Dask copies it, as part of a message


class Link:
    """An end of a connection. Made, and read, in the event loop of its Dask process.

    A link whose connection is lost drops what is put: whoever reads it is told.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self._writing: asyncio.Task[None] | None = None
        self._given: Handover[tuple[int, Frames]] = Handover(self._begin)
        self._given.open()

    def put(self, number: int, frames: Frames) -> None:
        """Send a message, in any thread. It refers to its arrays until it is written."""
        self._given.put((number, frames))

    def _begin(self) -> None:
        if self._writing is None and self._given.waiting:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Write all that waits, in the order in which it was put."""
        try:
            while self._given.waiting:
                await self._comm.write(self._message(take_bundle(self._given.waiting)), on_error="raise")
        except BaseException as error:
            self._given.waiting.clear()
            self._comm.abort()  # both ends hear of it: whatever could not be written would be waited for for ever
            if not isinstance(error, OSError):
                raise
        finally:
            # Nothing is awaited between the last look at `waiting` and this, so what is put later finds no task, and
            # makes one.
            self._writing = None

    def _message(self, bundle: Bundle) -> list[Any]:
        head, *arrays = pack(bundle)
        if not arrays and len(head) <= _INLINE_BYTES:
            return [head]
        if self._comm.peer_address.startswith("inproc:"):  # it hands on the objects themselves
            arrays = [np.copy(array) for array in arrays]
        # Dask reads the first array of a message with what is bytes; the others arrive in memory of their own.
        return [to_serialize(np.frombuffer(head, np.uint8)), *map(to_serialize, arrays)]

    async def read(self, take: Callable[[int, Frames], None]) -> None:
        """Have `take` told of each message. Raises an OSError when the connection is lost or closed."""
        while True:
            _hand_on(await self._comm.read(), take)

    def close(self) -> None:
        """Close the connection."""
        self._comm.abort()  # at once: `close` would wait until all is written


def _hand_on(told: Any, take: Callable[[int, Frames], None]) -> None:
    for number, frames in unpack(list(told)):
        take(number, frames)
