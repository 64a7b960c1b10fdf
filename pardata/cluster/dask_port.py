"""The port over Dask: an island is an actor on one worker of each host, and messages go there over a connection.

Dask's scheduler places the actors, and says which workers have come and gone. It sees no messages, but of a client that
is to talk to none but it. A pinned task would wait for ever for a worker that has died.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from distributed import Client
from distributed.comm import get_address_host

from pardata.cluster.dask_link import Link
from pardata.cluster.dask_node import aligned
from pardata.cluster.dask_placed import PlacedIsland, WorkerGone, WorkerWatch, watch
from pardata.cluster.opening import refusal
from pardata.cluster.port import EngineLost, Frames, NodeJoined, NodeLost, PortEvent, Returned
from pardata.errors import ConfigError
from pardata.memory.born.nursery import Reception

_CLOSE_S: Final = 5.0  # for islands to end
_ANSWER_S: Final = 5.0  # for the scheduler to tell its workers; Dask would go on trying to connect for 30 s

log = logging.getLogger("pardata.cluster")


class DaskPort:
    """The islands of one stage on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    nodes : int, optional
        So many hosts at the most, and at the start at least; default: all, and at least one.
    memory_limit : int, bytes, optional
        Of shared memory on a node; default: half of the limit of its Dask worker.
    islands : int
        Which share it on each node: of so many ports this is one.
    """

    def __init__(
        self, client: Client, nodes: int | None = None, memory_limit: int | None = None, islands: int = 1
    ) -> None:
        self._share = islands
        self._client = client
        self._scheduler = client.scheduler.address  # a client that is closed has none
        self._wanted = nodes
        self._memory_limit = memory_limit
        self._islands: dict[str, PlacedIsland] = {}  # by host
        self._placed: dict[str, PlacedIsland] = {}  # the same by node
        self._opening: set[str] = set()  # hosts
        self._refused: set[str] = set()
        self._is_open = True
        self._watch: WorkerWatch | None = None
        self._reception: Reception | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # an event loop holds tasks weakly
        self._on_event: Callable[[PortEvent], None] = lambda event: None
        self._code: Frames = []

    # -- in the caller's threads ---------------------------------------------------------------------------------------

    def open(self, code: Frames, on_event: Callable[[PortEvent], None]) -> None:
        """Open an island on each host (see `cluster.port.ClusterPort`)."""
        self._code, self._on_event, self._reception = code, on_event, Reception()
        self._watch = watch(self._client, self)
        try:
            self._start(self._open_all()).result()
        except BaseException:
            self.close()
            raise

    def call(self, node: str, number: int, frames: Frames) -> None:
        """Send a message to an island."""
        if self._has_closed_client:  # its event loop may stand still
            self._on_event(EngineLost(self._why_lost("")))
            return
        placed = self._placed.get(node)  # None: it was said to be lost
        if placed is not None and placed.link is not None:
            placed.link.put(number, frames)
        elif placed is not None:
            self._send_by_scheduler(placed, number, frames)

    def _send_by_scheduler(self, placed: PlacedIsland, number: int, frames: Frames) -> None:
        send = self._call if number < 0 else self._call_in_turn
        sending = send(placed, number, frames)
        try:
            self._start(sending)
        except RuntimeError:  # its event loop was closed just now
            sending.close()
            self._on_event(EngineLost(self._why_lost("")))

    def close(self) -> None:
        """End all islands."""
        if not self._is_open:
            return
        self._is_open = False
        if self._reception is not None:
            self._reception.close()
        if self._watch is None:
            return
        self._watch.discard(self)
        if self._client.status == "closed":
            return
        with contextlib.suppress(concurrent.futures.TimeoutError, concurrent.futures.CancelledError):
            self._start(self._close_all()).result(2 * _CLOSE_S)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._client.loop.asyncio_loop)

    @property
    def _has_closed_client(self) -> bool:
        return self._client.status in ("closing", "closed")

    # -- in the client's event loop ------------------------------------------------------------------------------------

    async def _open_all(self) -> None:
        hosts = await self._hosts()
        wanted = self._wanted or 1
        if len(hosts) < wanted:
            raise ConfigError(
                f"the Dask cluster {self._scheduler} has workers on {len(hosts)} hosts, and {wanted} "
                f"are needed: client.wait_for_workers(...) waits for them (those of one host are one node)"
            )
        opened = [self._open_on(host, hosts[host][0]) for host in list(hosts)[: self._wanted]]
        results = await asyncio.gather(*opened, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        if failed:
            raise failed[0]
        if not self._islands:
            raise ConfigError("all nodes were lost while islands were opened there")

    async def _hosts(self) -> dict[str, list[str]]:
        """Return the addresses of the workers of each host."""
        hosts: dict[str, list[str]] = {}
        for address in sorted(await self._client.scheduler.ncores()):
            hosts.setdefault(get_address_host(address), []).append(address)
        return hosts

    async def _open_on(self, host: str, address: str) -> None:
        """Open an island on a worker. Raises ConfigError if it cannot run there; a lost worker has none."""
        self._opening.add(host)
        assert self._watch is not None and self._reception is not None
        placed = PlacedIsland(self._client, address, self._reception)
        self._watch.placed.add(placed)
        try:
            limit_bytes = await placed.open(self._memory_limit, self._share, self._code)
        except (OSError, WorkerGone):
            placed.release()
            self.fill_soon()  # another worker of the host may be there, or have come meanwhile
            return
        except Exception as error:
            placed.release()
            self._refused.add(host)
            raise refusal(address, error) from error
        finally:
            self._opening.discard(host)
        if not self._is_open:
            placed.release()
            return
        # In front of the event: messages for the node follow it, from another thread (`call`).
        self._islands[host] = self._placed[placed.node] = placed
        self._on_event(NodeJoined(placed.node, limit_bytes))
        if placed.link is not None:
            self._begin(self._read(placed, placed.link))

    async def _read(self, placed: PlacedIsland, link: Link) -> None:
        """Tell the answers that come over a link, until it is closed."""
        assert self._reception is not None

        def tell(number: int, frames: Frames) -> None:
            if self._is_open:
                self._on_event(Returned(placed.node, number, frames))

        self._reception.enter()  # for this task, which reads from the connection
        try:
            await link.read(tell)
        except Exception as error:
            self._lose(placed, f"{type(error).__name__}: {error}")

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def fill_soon(self) -> None:
        """Open islands on hosts that have none."""
        if self._is_open and self._has_closed_client:
            self._on_event(EngineLost(self._why_lost("")))
        elif self._is_open:
            self._begin(self._fill())

    async def _fill(self) -> None:
        try:
            hosts = await asyncio.wait_for(self._hosts(), _ANSWER_S)
        except Exception as error:  # the client is closed, or the scheduler is gone: its workers end then
            if not self._islands and self._is_open:
                self._on_event(EngineLost(self._why_lost(str(error) or f"no answer for {_ANSWER_S:g} s")))
            else:
                log.warning("no further nodes: %s", error)
            return
        for host, addresses in hosts.items():
            if not self._is_open:
                return
            has_all = self._wanted is not None and len(self._islands) + len(self._opening) >= self._wanted
            if not has_all and host not in self._islands and host not in self._opening and host not in self._refused:
                try:
                    await self._open_on(host, addresses[0])
                except ConfigError as error:  # those that are there go on
                    log.warning("%s", error)

    def _why_lost(self, told: str) -> str:
        if self._has_closed_client:
            return f"the Dask client of {self._scheduler} was closed: close it when the run or the pool is over"
        return f"all nodes are gone, and so is the Dask scheduler {self._scheduler}: {told}"

    def remove(self, address: str) -> None:
        """Take in that a worker is gone."""
        for placed in [placed for placed in self._islands.values() if placed.address == address]:
            self._lose(placed, "its Dask worker is gone")

    def _lose(self, placed: PlacedIsland, why: str) -> None:
        host = get_address_host(placed.address)
        if self._islands.get(host) is placed:
            del self._islands[host], self._placed[placed.node]
            # In front of the event as well: what is called from here on finds no node.
            placed.lose()
            self._on_event(NodeLost(placed.node, f"node {placed.address}: {why}"))
            self.fill_soon()

    async def _call_in_turn(self, placed: PlacedIsland, number: int, frames: Frames) -> None:
        assert self._watch is not None
        async with self._watch.room:
            await self._call(placed, number, frames)

    async def _call(self, placed: PlacedIsland, number: int, frames: Frames) -> None:
        try:
            answer = await placed.call("call", number, *aligned(frames))
        except WorkerGone:
            return
        except Exception as error:
            self._lose(placed, f"{type(error).__name__}: {error}")
            return
        if self._is_open:
            self._on_event(Returned(placed.node, number, answer))

    async def _close_all(self) -> None:
        islands, self._islands, self._placed = list(self._islands.values()), {}, {}
        if islands:
            await asyncio.wait([asyncio.ensure_future(placed.close()) for placed in islands], timeout=_CLOSE_S)
        for placed in islands:
            placed.release()
