"""An island that is placed on a Dask worker, and word of workers that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
import weakref
from typing import Any, Final, Protocol

import numpy as np
from distributed import Client
from distributed.actor import ProxyRPC
from distributed.comm import Comm
from distributed.protocol import to_serialize

from pardata.cluster.dask_link import Link
from pardata.cluster.dask_node import EXCHANGE, DaskIsland
from pardata.cluster.opening import versions
from pardata.cluster.port import Frames
from pardata.errors import ConfigError
from pardata.memory.born.nursery import Reception

_SPARE: Final = 16  # connections that messages leave to what is urgent: to drop tasks, to end an island
_LOOK_S: Final = 1.0  # while an island is placed: for a worker that has gone


class WorkerGone(Exception):
    """The worker of an island is gone, and its port knows it."""


class PlacedIsland:
    """An island on a worker."""

    def __init__(self, client: Client, address: str, reception: Reception) -> None:
        self._reception = reception
        self.address = address
        self.node = f"{address}#{uuid.uuid4().hex[:8]}"
        self._client = client
        self._key = f"pardata-island-{self.node}"
        self._gone = asyncio.get_running_loop().create_future()
        self._comm: Comm | None = None
        self.link: Link | None = None  # to it; None: home reaches none but the scheduler
        self._actor: Any = client.submit(
            DaskIsland, actor=True, key=self._key, workers=[address], allow_other_workers=False, pure=False, retries=0
        )

    async def open(self, memory_limit: int | None, share: int, code: Frames) -> int:
        """Open the island; return the bytes that it may use."""
        actor = asyncio.ensure_future(self._actor)
        while not actor.done():  # it would wait for ever for a worker that was gone before anybody listened
            done, _ = await asyncio.wait([actor, self._gone], timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            if self._gone in done or (not done and self.address not in await self._client.scheduler.ncores()):
                actor.cancel()
                raise WorkerGone
        actor.result()
        limit_bytes: int = await self.call("open", self._key, versions(), memory_limit, share, *code)
        if self._is_direct:
            await self._connect()
        if self._gone.done():  # its port was told before it could know of this island, and is not told again
            raise WorkerGone
        return limit_bytes

    @property
    def _is_direct(self) -> bool:
        return self._client.direct_to_workers is not False

    async def _connect(self) -> None:
        """Have a connection of the client's for messages."""
        if self._client.rpc.open > self._client.rpc.limit - _SPARE:
            raise ConfigError(
                f"the client opens {self._client.rpc.limit} connections at most, and each node takes one: "
                "Client(address, connection_limit=...)"
            )
        self._comm = comm = await self._client.rpc.connect(self.address)
        await comm.write({"op": EXCHANGE, "key": self._key, "reply": False})
        self.link = Link(comm)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor, past the scheduler unless the client is not to talk to workers."""
        client = self._client
        self._reception.enter()
        if self.address.startswith("inproc:"):  # it hands on the objects themselves, and their memory is used again
            arguments = tuple(np.copy(part) if isinstance(part, np.ndarray) else part for part in arguments)
        rpc = client.rpc(self.address) if self._is_direct else ProxyRPC(client.scheduler, self.address)
        answer = await self._unless_gone(
            rpc.actor_execute(function=method, actor=self._key, args=[to_serialize(part) for part in arguments])
        )
        if answer["status"] != "OK":
            raise answer["exception"]
        got = answer["result"]
        is_copied = self.address.startswith("inproc:") and isinstance(got, list)
        return [np.copy(part) if isinstance(part, np.ndarray) else part for part in got] if is_copied else got

    async def _unless_gone(self, awaited: Any) -> Any:
        """Return what is awaited. Raises `WorkerGone` as soon as the worker is known to be gone."""
        task = asyncio.ensure_future(awaited)
        await asyncio.wait([task, self._gone], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        raise WorkerGone

    def lose(self) -> None:
        """Let all calls end."""
        if not self._gone.done():
            self._gone.set_result(None)
        self.release()

    async def close(self) -> None:
        """End the island's run."""
        with contextlib.suppress(Exception):
            await self.call("close")

    def release(self) -> None:
        """Let go of the actor, and of the connection to it."""
        comm, self._comm = self._comm, None
        if comm is not None:
            comm.abort()
            self._client.rpc.reuse(self.address, comm)
        actor, self._actor = self._actor, None
        if actor is not None:
            actor.release()


class Watching(Protocol):
    """A port that is told of workers, in the client's event loop."""

    def remove(self, address: str) -> None: ...
    def fill_soon(self) -> None: ...


class WorkerWatch:
    """Hears of the workers of a cluster that come and go, for all ports of a client, while there are any.

    A client has one handler for a topic: that of the user, if there is one, is still called.

    Attributes
    ----------
    room : asyncio.Semaphore
        For the messages that are away by way of the scheduler: each has a connection to itself, and a client has so
        many (`connection_limit`).
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.ports: set[Watching] = set()
        self.room = asyncio.Semaphore(max(1, client.rpc.limit - _SPARE))
        self.placed: weakref.WeakSet[PlacedIsland] = weakref.WeakSet()
        before = getattr(client, "_event_handlers", {}).get(_TOPIC)
        self._before = None if before is _ignore else before
        client.subscribe_topic(_TOPIC, self._hear)

    def discard(self, port: Watching) -> None:
        """Tell a port no more."""
        with _lock:
            self.ports.discard(port)
            if not self.ports and _watches.pop(self._client, None) is not None and self._client.status == "running":
                self._client.unsubscribe_topic(_TOPIC)
                # An event that is on its way finds a handler: without one Dask logs an error.
                getattr(self._client, "_event_handlers", {})[_TOPIC] = _ignore
                if self._before is not None:
                    self._client.subscribe_topic(_TOPIC, self._before)

    async def _hear(self, event: tuple[float, Any]) -> None:
        said = event[1] if isinstance(event[1], dict) else {}
        if said.get("action") == "remove-worker":
            for placed in [placed for placed in self.placed if placed.address == said.get("worker")]:
                placed.lose()
            for port in list(self.ports):
                port.remove(said["worker"])
        elif said.get("action") == "add-worker":
            for port in list(self.ports):
                port.fill_soon()
        if self._before is not None:
            told = self._before(event)
            if asyncio.iscoroutine(told):
                await told


def _ignore(event: object) -> None:
    """Stand for no handler."""


_TOPIC: Final = "all"
_lock: Final = threading.Lock()
_watches: dict[Client, WorkerWatch] = {}  # of clients with open ports


def watch(client: Client, port: Watching) -> WorkerWatch:
    """Return the watch of a client, which tells a port from now on: all its ports have one."""
    with _lock:
        found = _watches.get(client)
        if found is None:
            found = _watches[client] = WorkerWatch(client)
        found.ports.add(port)
        return found
