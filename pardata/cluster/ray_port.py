"""The port over Ray: an island is an actor on each node, and calls of it carry messages and answers.

Ray places the actors, carries arrays through its object store, and fails the calls of one that is gone: some wait for
answers all the time, so that is told at once. Nothing tells of a node that has joined: a thread looks.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from pardata.cluster.opening import refusal
from pardata.cluster.port import EngineLost, Frames, NodeJoined, NodeLost, PortEvent, Returned
from pardata.cluster.ray_node import received
from pardata.cluster.ray_placed import IslandActor, PortStep, RayNode, nodes_there, store_bytes_here
from pardata.errors import ConfigError
from pardata.memory.born.nursery import Reception
from pardata.memory.budget import format_bytes

_CLOSE_S: Final = 5.0  # for islands to end
_LOOK_S: Final = 1.0  # for nodes that have joined
_PATIENCE_S: Final = 30.0  # until it is told that an island is not there
_TRIES: Final = 2  # to open an island on a node that is there and loses its actor
_SHARE_OF_NODE: Final = 2  # of what Ray gives to actors

log = logging.getLogger("pardata.cluster")


class RayPort:
    """The islands of one stage on the nodes of the cluster that Ray is initialised with.

    All but `open`, `call` and `close` is done in a thread of the port.

    Parameters
    ----------
    nodes : int, optional
        So many nodes at the most, and at the start at least; default: all, and at least one.
    memory_limit : int, bytes, optional
        Of shared memory on a node; default: half of what Ray gives to actors there.
    islands : int
        Which share it on each node: of so many ports this is one.
    """

    def __init__(self, nodes: int | None = None, memory_limit: int | None = None, islands: int = 1) -> None:
        self._share = islands
        self._wanted = nodes
        self._memory_limit = memory_limit
        self._islands: dict[str, IslandActor] = {}  # by the ids of nodes; also those that are opened
        self._tries: Counter[str] = Counter()  # to open one, in vain
        self._refused: set[str] = set()
        self._opening: dict[str, Future[None]] = {}  # what `open` waits for
        self._most_bytes = 0  # of a node, so that home's object store holds those of all
        self._steps: SimpleQueue[PortStep | None] = SimpleQueue()
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=work, name="pardata-ray", daemon=True) for work in (self._work, self._look)
        ]
        self._reception: Reception | None = None
        self._on_event: Callable[[PortEvent], None] = lambda event: None
        self._code: Any = None

    # -- in the caller's threads ---------------------------------------------------------------------------------------

    def open(self, code: Frames, on_event: Callable[[PortEvent], None]) -> None:
        """Open an island on each node (see `cluster.port.ClusterPort`)."""
        there = nodes_there()
        wanted = self._wanted or 1
        if len(there) < wanted:
            raise ConfigError(
                f"the Ray cluster has {len(there)} nodes with a CPU, and {wanted} are needed: wait until ray.nodes() "
                f"has them, or ask for fewer, pardata.cluster.Ray(nodes=...)"
            )
        chosen = [there[node] for node in sorted(there)][: self._wanted]
        self._check_memory(chosen)
        self._most_bytes = store_bytes_here() // len(chosen)
        self._on_event, self._code = on_event, ray.put(code)
        self._reception = Reception()
        self._opening = {at.id: Future() for at in chosen}
        waiting = list(self._opening.values())
        for thread in self._threads:
            thread.start()
        for at in chosen:
            self._steps.put(partial(self._open_on, at))
        try:
            for at, opened in zip(chosen, waiting, strict=True):
                self._wait_for(at, opened)
            if not any(placed.is_open for placed in list(self._islands.values())):
                raise ConfigError("all nodes were lost while islands were opened there")
        except BaseException:
            self.close()
            raise

    def _wait_for(self, at: RayNode, opened: Future[None]) -> None:
        """Wait for the island of a node. Ray says nothing of an actor that has to wait."""
        if not concurrent.futures.wait([opened], _PATIENCE_S).done:
            why = "" if self._memory_limit is None else ", or its memory_limit is promised to others (ray status)"
            log.warning("node %s has no island after %g s: it is busy%s", at.address, _PATIENCE_S, why)
        opened.result()

    def _check_memory(self, chosen: list[RayNode]) -> None:
        """Refuse a limit that Ray would wait for, for ever."""
        for at in chosen:
            if self._memory_limit is not None and self._memory_limit > at.memory_bytes:
                raise ConfigError(
                    f"Ray: memory_limit is {format_bytes(self._memory_limit)}, and node {at.address} has "
                    f"{format_bytes(at.memory_bytes)} for actors: give less, or start it with more, ray start --memory"
                )

    def call(self, node: str, number: int, frames: Frames) -> None:
        """Send a message to an island."""
        self._steps.put(partial(self._send, node, number, frames))

    def close(self) -> None:
        """End all islands."""
        if self._end.is_set():
            return
        self._end.set()
        if self._reception is not None:
            self._steps.put(None)
            for thread in self._threads:
                thread.join(2 * _CLOSE_S)
            self._reception.close()

    # -- in threads of the port ----------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Do steps until the end."""
        while (step := self._steps.get()) is not None:
            try:
                if not ray.is_initialized():  # calls would start a cluster
                    raise RuntimeError("it was shut down")
                step()
            except Exception as error:
                self._give_up(f"Ray fails in the calling process: {type(error).__name__}: {error}")
            del step  # it has arrays
        self._close_all()

    def _give_up(self, why: str) -> None:
        opening, self._opening = self._opening, {}
        for opened in opening.values():
            opened.set_exception(ConfigError(why))
        self._on_event(EngineLost(why))

    def _look(self) -> None:
        """Look for nodes that have joined, and for those that are gone."""
        there: dict[str, RayNode] = {}
        while not self._end.wait(_LOOK_S):
            try:
                there = nodes_there() if ray.is_initialized() else {}
            except Exception as error:
                log.warning("no further nodes: %s", error)
            self._steps.put(partial(self._fill, there))

    def _fill(self, there: dict[str, RayNode]) -> None:
        for placed in [placed for placed in self._islands.values() if placed.is_open and placed.at.id not in there]:
            self._lose(placed, "Ray says that it is gone")
        for at in there.values():
            has_all = self._wanted is not None and len(self._islands) >= self._wanted
            if not has_all and at.id not in self._islands and at.id not in self._refused:
                self._open_on(at)

    def _open_on(self, at: RayNode) -> None:
        limit_bytes = (self._memory_limit or at.memory_bytes // _SHARE_OF_NODE) // self._share
        told_bytes = 0 if self._memory_limit is None else limit_bytes
        placed = self._islands[at.id] = IslandActor(at, told_bytes, self._steps.put)
        placed.open(limit_bytes, self._code, partial(self._on_open, placed, limit_bytes))

    def _on_open(self, placed: IslandActor, limit_bytes: int, call: Future[Any]) -> None:
        error = _error_of(call)
        if error is not None:
            self._on_not_opened(placed, error)
            return
        placed.is_open, self._tries[placed.at.id] = True, 0
        stored_bytes = min(placed.at.store_bytes, self._most_bytes) // self._share
        self._on_event(NodeJoined(placed.node, min(limit_bytes, stored_bytes)))
        self._settle(placed.at)
        placed.begin(partial(self._on_answers, placed), partial(self._lose_by, placed))

    def _on_not_opened(self, placed: IslandActor, error: BaseException) -> None:
        """Try again on a node that is there and has lost the actor; refuse one that cannot run it."""
        placed.kill()
        at = placed.at
        del self._islands[at.id]
        self._tries[at.id] += 1
        if not isinstance(error, RayError):
            self._refuse(at, error)
        elif at.id not in nodes_there():
            self._settle(at)
        elif self._tries[at.id] < _TRIES:
            self._open_on(at)
        else:
            self._refuse(at, error)

    def _refuse(self, at: RayNode, error: BaseException) -> None:
        self._refused.add(at.id)
        if at.id in self._opening:
            self._settle(at, refusal(at.address, error))
        else:  # those that are there go on
            log.warning("%s", refusal(at.address, error))

    def _settle(self, at: RayNode, error: ConfigError | None = None) -> None:
        """Tell `open` that it need not wait for a node any longer."""
        opening = self._opening.pop(at.id, None)
        if opening is not None and error is not None:
            opening.set_exception(error)
        elif opening is not None:
            opening.set_result(None)

    def _send(self, node: str, number: int, frames: Frames) -> None:
        placed = next((placed for placed in self._islands.values() if placed.node == node), None)
        if placed is not None:  # else it was said to be lost
            placed.send(number, frames)

    def _on_answers(self, placed: IslandActor, given: Any) -> None:
        if self._islands.get(placed.at.id) is placed:
            for number, frames in received(given):
                self._on_event(Returned(placed.node, number, frames))

    def _lose_by(self, placed: IslandActor, error: BaseException) -> None:
        error = error.cause if isinstance(error, RayTaskError) else error
        self._lose(placed, f"{type(error).__name__}: {error}")

    def _lose(self, placed: IslandActor, why: str) -> None:
        at = placed.at
        if self._islands.get(at.id) is placed:
            placed.kill()
            self._on_event(NodeLost(placed.node, f"node {at.address}: {why}"))
            self._open_on(at)  # if the node is gone too, that fails

    def _close_all(self) -> None:
        islands, self._islands = list(self._islands.values()), {}
        if islands and ray.is_initialized():
            with contextlib.suppress(Exception):
                calls = [placed.close() for placed in islands if placed.is_open]
                ray.wait(calls, num_returns=len(calls), timeout=_CLOSE_S)
            for placed in islands:
                placed.kill()


def _error_of(call: Future[Any]) -> BaseException | None:
    """Return the error of a call: that of the method as it is, or one of Ray."""
    error = call.exception()
    return error.cause if isinstance(error, RayTaskError) else error
