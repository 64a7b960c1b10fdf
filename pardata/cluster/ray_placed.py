"""An island that is placed on a Ray node. All methods are called in the thread of its port."""

from __future__ import annotations

import contextlib
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, partial
from typing import Any, Final, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pardata.cluster.bundle import take_bundle
from pardata.cluster.opening import versions
from pardata.cluster.port import Frames
from pardata.cluster.ray_node import CALLS, CARRIED_BYTES, RayIsland, carried

_OTHERS: Final = 1  # calls: to open or to close it

PortStep = Callable[[], None]


class RayNode(NamedTuple):
    """A node of the cluster: its id, its address, and the bytes that Ray gives to actors and to its object store."""

    id: str
    address: str
    memory_bytes: int
    store_bytes: int


def nodes_there() -> dict[str, RayNode]:
    """Return the nodes that are there and have a CPU, by their ids."""
    return {
        told["NodeID"]: RayNode(
            told["NodeID"],
            f"{told['NodeManagerAddress']}:{told['NodeManagerPort']}",
            int(told["Resources"].get("memory", 0)),
            int(told["Resources"].get("object_store_memory", 0)),
        )
        for told in ray.nodes()
        if told["Alive"] and told["Resources"].get("CPU")
    }


def store_bytes_here() -> int:
    """Return the size of the object store that this process uses."""
    here = ray.get_runtime_context().get_node_id()
    return next(int(told["Resources"].get("object_store_memory", 0)) for told in ray.nodes() if told["NodeID"] == here)


@cache
def _actor_class() -> Any:
    """Return the class of actors. It is one: each is sent to the cluster, which takes longer than to place an actor."""
    return ray.remote(RayIsland)


class IslandActor:
    """An island on a node.

    Parameters
    ----------
    told_bytes : int
        Of memory that Ray is to keep free for it.
    post : callable
        Has a step done in the port's thread.
    """

    def __init__(self, at: RayNode, told_bytes: int, post: Callable[[PortStep], object]) -> None:
        self.at = at
        self.node = f"{at.address}#{uuid.uuid4().hex[:8]}"
        self.is_open = False
        self._post = post
        self._waiting: deque[tuple[int, Frames]] = deque()
        self._calls = 0  # that are away
        self._sent = 0
        self._told: Callable[[Any], None] = lambda given: None
        self._lost: Callable[[BaseException], None] = lambda error: None
        # Without a CPU of its own it takes none from others, and has a place where all are taken.
        self._actor: Any = (
            _actor_class()
            .options(
                num_cpus=0, memory=told_bytes or None, max_concurrency=CALLS + _OTHERS, max_restarts=0,
                max_task_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(at.id, soft=False),
            )
            .remote()
        )  # fmt: skip

    def _follow(self, call: Any, done: Callable[[Future[Any]], None]) -> None:
        call.future().add_done_callback(lambda future: self._post(partial(done, future)))

    def open(self, memory_bytes: int, code: Any, done: Callable[[Future[Any]], None]) -> None:
        """Open the island; `done` is told."""
        self._follow(self._actor.open.remote(versions(), memory_bytes, code), done)

    def begin(self, told: Callable[[Any], None], lost: Callable[[BaseException], None]) -> None:
        """Begin to exchange messages; `told` is called with what carries answers, `lost` if the island is gone."""
        self._told, self._lost = told, lost
        self._exchange()

    def send(self, number: int, frames: Frames) -> None:
        """Send a message, with others that wait."""
        self._waiting.append((number, frames))
        self._exchange()

    def _exchange(self) -> None:
        """Call for what waits to be sent; one call is always there, and brings answers."""
        while self._calls < CALLS and (self._waiting or not self._calls):
            self._calls += 1
            call, self._sent = self._sent, self._sent + 1
            given = carried(take_bundle(self._waiting, CARRIED_BYTES))
            self._follow(self._actor.exchange.remote(call, given), self._done)

    def _done(self, call: Future[Any]) -> None:
        self._calls -= 1
        error = call.exception()
        if error is not None:
            self._lost(error)
            return
        self._exchange()  # the next one is on its way while these are copied
        self._told(call.result())

    def close(self) -> Any:
        """Begin to end the island's run; return the call."""
        return self._actor.close.remote()

    def kill(self) -> None:
        """End the actor's process."""
        with contextlib.suppress(Exception):  # it is gone, or Ray is
            ray.kill(self._actor)
