"""Home's end of the way to the pools of nodes: a `Crossing` whose messages are tasks.

A node that joins is asked first how many workers it has. It gets each function once, in front of the first task that
names it; what the functions have captured goes with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.cluster import wire
from pardata.cluster.crossing import Answered, Crossing
from pardata.cluster.ledger import Send
from pardata.cluster.pool_messages import DropTasks, Hello, NewFunction, Nothing, Welcome
from pardata.cluster.port import FINISH, ClusterPort, Frames, NodeJoined, NodeLost, Returned
from pardata.codec.unpicklable import explain_unpicklable
from pardata.errors import ConfigError
from pardata.process.interrupts import is_of_handler
from pardata.runtime.events import Spoken

AHEAD: Final = 4  # tasks that a node may have beside those of its workers: on their way there and back
_KEPT: Final = 64  # functions that no task names


class TaskSuspect(Exception):
    """Two nodes were lost while they had a task: it is to be tried again, item by item."""


class TaskBlamed(Exception):
    """Nodes were lost while they had a task, and it is not tried again."""


class HomeCode:
    """A function as it travels to nodes; they have it as long as this lives."""

    _keys = itertools.count()

    def __init__(self, frames: Frames) -> None:
        self.key = next(self._keys)
        self.frames = frames
        self.wire = None  # in a job's message, which leaves it out


class HomeFunctions:
    """The functions of a pool as they are at each call: one that is the same as before has the same code."""

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[bytes, HomeCode] = weakref.WeakValueDictionary()
        self._recent: deque[HomeCode] = deque(maxlen=_KEPT)

    def get(self, fn: Callable[..., Any]) -> HomeCode:
        """Return the code of a function. Raises `ConfigError` if it cannot leave this machine."""
        try:
            frames = wire.encode(fn)
        except wire.LocalOnly as error:
            raise ConfigError(f"the function {_name(fn)} cannot run on other nodes: {error}") from error
        except Exception as error:
            if is_of_handler(error):
                raise
            why = explain_unpicklable(fn)
            raise ConfigError(f"the function {_name(fn)} cannot be sent to other nodes: {why} ({error})") from error
        digest = hashlib.blake2b()
        for frame in frames:
            digest.update(frame)
        code = self._known.get(digest.digest())
        if code is None:
            code = self._known[digest.digest()] = HomeCode(kept(frames))
            self._recent.append(code)
        return code


def _name(fn: Any) -> str:
    return repr(getattr(fn, "__name__", fn))


def kept(frames: Frames) -> Frames:
    """Return frames that do not refer to arrays of the caller's, who may change them."""
    return [frame if isinstance(frame, bytes) else np.array(frame) for frame in frames]


class Away(NamedTuple):
    """A task on its way to a node, encoded; its function; and how many nodes or workers it has cost."""

    frames: Frames
    code: HomeCode
    cost: int


class NodePools:
    """The pools of the nodes, as home knows them.

    Attributes
    ----------
    workers : dict
        How many each node has.
    greeted : asyncio.Event
        Set when every node that was there at the start has told its workers, or is lost.
    joining : dict
        Nodes that were asked.
    codes : dict
        By the number of a task that is away, its function.
    known : dict
        By node, the functions that it has, by their keys.
    notes : iterator
        Numbers of messages that are no tasks.
    wake : callable
        Told that nodes have come or gone.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.workers: dict[str, int] = {}
        self.greeted = asyncio.Event()
        self.joining: dict[str, NodeJoined] = {}
        self.codes: dict[int, HomeCode] = {}
        self.known: dict[str, dict[int, weakref.ref[HomeCode]]] = {}
        self.notes = itertools.count(FINISH - 1, -1)


class PoolCrossing(Crossing):
    """The tasks of a pool that are away. All but `open`, `on_event` and `close` is of one thread."""

    def __init__(
        self, port: ClusterPort, name: str, most_bytes: int, show: Callable[[Spoken], None], wake: Callable[[], object]
    ) -> None:
        super().__init__(port, name, 0, most_bytes, show)
        self.pools = NodePools(wake)

    # -- events --------------------------------------------------------------------------------------------------------

    def _on_joined(self, event: NodeJoined) -> None:
        self.pools.joining[event.node] = event
        self.pools.known[event.node] = {}
        self._note(event.node, Hello())

    def _on_returned(self, event: Returned) -> None:
        if event.number >= FINISH:
            super()._on_returned(event)
            return
        joined, answer = self.pools.joining.get(event.node), wire.decode(event.frames)
        if joined is not None and isinstance(answer, Welcome):
            del self.pools.joining[event.node]
            self.pools.workers[event.node] = answer.workers
            self._call(self._ledger.join(event.node, answer.workers + AHEAD, joined.memory_bytes // 2))
        self._look()

    def _on_lost(self, event: NodeLost) -> None:
        self.pools.joining.pop(event.node, None)
        self.pools.workers.pop(event.node, None)
        super()._on_lost(event)
        self.pools.known.pop(event.node, None)
        self._look()

    def _look(self) -> None:
        if not self.pools.joining:
            self.pools.greeted.set()
        self.pools.wake()

    def _give_up(self, why: str) -> None:
        super()._give_up(why)
        self.pools.greeted.set()

    @property
    def why_over(self) -> str:
        """Why there will be no nodes; "" while there may be."""
        return self._over

    def _suspect(self, number: int) -> None:
        self._settle_with(number, TaskSuspect())

    def _refuse(self, number: int, why: str) -> None:
        self._settle_with(number, TaskBlamed(why))

    def _settle_with(self, number: int, error: Exception) -> None:
        future = self._away.pop(number).answer
        if not future.done():
            future.set_exception(error)

    # -- messages ------------------------------------------------------------------------------------------------------

    def begin_task(self, number: int, away: Away) -> asyncio.Future[Answered]:
        """Send a task; return the future of its answer."""
        self.pools.codes[number] = away.code
        future = self._send_encoded(number, away.frames, away.cost)
        future.add_done_callback(lambda _: self.pools.codes.pop(number, None))
        return future

    def drop(self, numbers: list[int]) -> None:
        """End tasks, wherever they are; their answers are `Nothing`."""
        at: dict[str, list[int]] = {}
        for number in numbers:
            if number in self._away:
                self._away[number].frames = wire.encode(Nothing())  # for a node that has yet to get it
                node = self._ledger.node_of(number)
                if node is not None:
                    at.setdefault(node, []).append(number)
        for node, found in at.items():
            self._note(node, DropTasks(found))

    def _call(self, sends: list[Send]) -> None:
        for send in sends:
            code = self.pools.codes.get(send.number)
            if code is not None and code.key not in self.pools.known[send.node]:
                self._teach(send.node, code)
            super()._call([send])

    def _teach(self, node: str, code: HomeCode) -> None:
        known = self.pools.known[node]
        gone = [key for key, each in known.items() if each() is None]
        for key in gone:
            del known[key]
        known[code.key] = weakref.ref(code)
        # In front of its first task. Messages to a node may overtake each other: it keeps a task until its function is
        # there.
        self._note(node, NewFunction(code.key, code.frames, gone))

    def _note(self, node: str, message: Any) -> None:
        frames = wire.encode(message)
        self.nodes[node].sent_bytes += wire.count_bytes(frames)
        self._port.call(node, next(self.pools.notes), frames)
