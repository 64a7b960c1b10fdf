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


class RayIsland:
    """An island as an actor with threads. None of them holds it but those of Ray's calls."""

    def __init__(self) -> None:
        self._island: HeldIsland | None = None
        self._reception: Reception | None = None
        self._answers: deque[tuple[int, Frames]] = deque()
        self._early: dict[int, Bundle] = {}  # by the numbers of calls
        self._following = 0
        self._news = threading.Condition()  # of answers and of calls; an island may answer while it takes a message

    def open(self, home: dict[str, str], memory_bytes: int, code: Frames) -> None:
        """Open the island.

        Raises
        ------
        ConfigError
            The versions here are not those of `home`, or the code cannot be loaded.
        """
        answers, news = self._answers, self._news

        def on_answer(number: int, frames: Frames) -> None:
            with news:
                answers.append((number, frames))
                news.notify()

        own = [part if isinstance(part, bytes) else np.array(part) for part in code]  # its workers may write to it
        self._island = open_island(home, _set_here(), memory_bytes, own, on_answer)
        self._reception = Reception()

    def exchange(self, call: int, given: Any) -> Any:
        """Take messages in, those of one call after those of the one before; return answers that are there then.

        Calls overtake each other, so they have numbers. A call waits for the first answer, but no longer than until
        two of those behind it wait.
        """
        if self._island is None:
            raise BrokenError("the island is not open")
        bundle = received(given)
        with self._news:
            self._early[call] = bundle
            del bundle
            while (turn := self._early.pop(self._following, None)) is not None:
                self._following += 1
                for number, frames in turn:
                    self._island.take(number, frames)
                    del frames  # while this waits, they are the island's alone
                del turn
            # A call in front of this one may have enough others behind it now, and goes home.
            self._news.notify_all()
            while not self._answers and self._following <= call + _WAITING:
                self._news.wait()
            return carried(take_bundle(self._answers, CARRIED_BYTES))

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
