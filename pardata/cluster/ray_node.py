"""A Ray node's side: the actor that holds an island; and what a call of it carries.

Ray makes a thread for each call that an actor may have at a time. So a call brings several messages, and takes home the
answers that are there next, whichever messages they are of: a few threads do, however many messages are away.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

import numpy as np

from pardata.cluster.bundle import Bundle, pack, take_bundle, unpack
from pardata.cluster.opening import HeldIsland, open_island
from pardata.cluster.port import Frames
from pardata.errors import BrokenError
from pardata.memory.born.nursery import Reception, in_shared_memory

ENVIRONMENT: Final = "/proc/self/environ"  # that a process began with
CALLS: Final = 4  # at a time: some are on their way while others wait for answers
_WAITING: Final = 2  # so many of them wait
CARRIED_BYTES: Final = 96 << 10  # together: what has more than 100 KiB goes through the object store, which costs more


class _Answers:
    """The answers of an island, and the calls that wait for some: they are woken one by one, as far as there is need.

    All but `put` is done with the lock held.

    Attributes
    ----------
    lock : RLock
        An island may answer while it takes a message.
    waiting : deque
        Answers that no call has taken home.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.waiting: deque[tuple[int, Frames]] = deque()
        self._behind = 0  # calls in front of this one wait no more
        self._alarms: dict[int, threading.Lock] = {}  # of the calls that wait
        self._is_woken = False  # a call, for the answers that are there

    def put(self, number: int, frames: Frames) -> None:
        """Take in an answer, in any thread."""
        with self.lock:
            self.waiting.append((number, frames))
            self._wake()

    def let_go(self, behind: int) -> None:
        """Have the calls in front of one wait no more."""
        self._behind = behind
        for call in [call for call in self._alarms if call < behind]:
            self._alarms.pop(call).release()

    def take(self, call: int) -> Bundle:
        """Return what a call takes home: nothing, if it is not to wait."""
        while not self.waiting and call >= self._behind:
            self._wait(call)
        bundle = take_bundle(self.waiting, CARRIED_BYTES)
        self._wake()
        return bundle

    def _wait(self, call: int) -> None:
        alarm = self._alarms[call] = threading.Lock()
        alarm.acquire()
        self.lock.release()
        try:
            alarm.acquire()
        finally:
            self.lock.acquire()
            self._is_woken = False

    def _wake(self) -> None:
        """Wake the first call for what is there, unless one is awake already: it takes all that it can."""
        if self.waiting and self._alarms and not self._is_woken:
            self._is_woken = True
            self._alarms.pop(min(self._alarms)).release()


class RayIsland:
    """An island as an actor with threads. None of them holds it but those of Ray's calls."""

    def __init__(self) -> None:
        self._island: HeldIsland | None = None
        self._reception: Reception | None = None
        self._answers = _Answers()
        self._early: dict[int, Bundle] = {}  # by the numbers of calls
        self._following = 0

    def open(self, home: dict[str, str], memory_bytes: int, code: Frames) -> None:
        """Open the island.

        Raises
        ------
        ConfigError
            The versions here are not those of `home`, or the code cannot be loaded.
        """
        own = [part if isinstance(part, bytes) else np.array(part) for part in code]  # its workers may write to it
        self._island = open_island(home, _set_here(), memory_bytes, own, self._answers.put)
        self._reception = Reception()

    def exchange(self, call: int, given: Any) -> Any:
        """Take messages in, those of one call after those of the one before; return answers that are there then.

        Calls overtake each other, so they have numbers. A call waits for the first answer, but no longer than until
        two of those behind it wait.
        """
        if self._island is None:
            raise BrokenError("the island is not open")
        bundle = received(given)
        with self._answers.lock:
            self._early[call] = bundle
            del bundle
            while (turn := self._early.pop(self._following, None)) is not None:
                self._following += 1
                for number, frames in turn:
                    self._island.take(number, frames)
                    del frames  # while this waits, they are the island's alone
                del turn
            # A call in front of this one may have enough others behind it now, and goes home.
            self._answers.let_go(self._following - _WAITING)
            made = self._answers.take(call)
        return carried(made)

    def close(self) -> None:
        """End the island's run, whatever it is at; returns when its processes are gone."""
        if self._island is not None:
            self._island.close()
        if self._reception is not None:
            self._reception.close()


def carried(bundle: Bundle) -> Any:
    """Return what carries a bundle: bytes, or a list of bytes and arrays of uint8. Ray pickles no more than these."""
    packed = pack(bundle)
    return packed if len(packed) > 1 else packed[0]


def received(given: Any) -> Bundle:
    """Return a bundle. Its arrays are copied to shared memory: Ray's are read-only, and in a file without a name."""
    head, *arrays = [given] if isinstance(given, bytes) else given
    with in_shared_memory():
        return unpack([head, *[np.array(part) for part in arrays]])


def _set_here() -> dict[str, str]:
    """Return the limits of threads that this process did not begin with: Ray sets one while an actor is at work."""
    began = {entry.partition(b"=")[0].decode() for entry in Path(ENVIRONMENT).read_bytes().split(b"\0")}
    return {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ and name not in began}
