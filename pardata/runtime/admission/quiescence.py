"""Measures for how long nothing has moved in a run, as far as a worker that waits for memory can see."""

from __future__ import annotations

import threading
import time
from typing import Final

from pardata.memory.segment import Segment
from pardata.runtime.admission.inflight import InFlightSpec
from pardata.runtime.admission.policy import STUCK_S, TICK_S
from pardata.runtime.header import BATCHES, CONSUMER_BUSY, CURRENT_CALL, MEMORY, THREAD, WAITS_FOR

# The looking worker itself may have had no time, on a busy machine or by Ctrl-Z: then the others had none to move.
_MOST_PER_LOOK_S: Final = 10 * TICK_S
_STOPPED: Final = (b"D", b"T", b"t")  # proc(5): on a disk, stopped, traced; R is running or runnable


class Quiescence:
    """Adds up the time between looks at which all workers wait, and nothing has changed since the look before.

    The consumer waits while it wants the next item; while its loop is at one, it may let go of others. A worker that
    waits for memory is not held up while it runs: it runs at each of its own looks.
    """

    def __init__(self, spec: InFlightSpec, segment: Segment) -> None:
        self._stages = [span.words(segment) for span in spec.stages]
        self._consumer = spec.consumer.words(segment)
        self._seen: tuple[int, ...] = ()
        self._still_s = self._looked_s = 0.0

    def begin(self) -> None:
        """Begin anew."""
        self._seen = ()

    def look(self, live_bytes: int) -> float:
        """Return for how many seconds all have been waiting by now."""
        seen = (live_bytes, *(words[BATCHES] for words in self._stages))
        # SYNC POINT: consumer (`engines.processes.run.Loop.fill`). The word is still 0 when the consumer has been woken
        # and has not run: beyond STUCK_S time counts only while the system has no such thread (`_is_any_held_up`).
        is_busy = self._consumer[CONSUMER_BUSY] or any(words[CURRENT_CALL] for words in self._stages)
        now = time.monotonic()
        since_s, self._looked_s = now - self._looked_s, now
        if is_busy or seen != self._seen:
            self._seen, self._still_s = seen, 0.0
        elif self._still_s < STUCK_S or not self._is_any_held_up():
            self._still_s += min(since_s, _MOST_PER_LOOK_S)
        return self._still_s

    def _is_any_held_up(self) -> bool:
        looking = {words[THREAD] for words in self._stages if words[WAITS_FOR] == MEMORY}
        threads = {words[THREAD] for words in (*self._stages, self._consumer)} - looking - {threading.get_native_id()}
        return any(map(is_held_up, threads)) or any(map(is_stopped, looking))


def is_held_up(thread: int) -> bool:
    """Return whether a thread, which looks as if it waited, has something to do and no core, or was stopped.

    Where the system does not tell (it does on Linux), False.
    """
    return _state(thread) in (b"R", *_STOPPED)


def is_stopped(thread: int) -> bool:
    """Return whether a thread could not go on if it had a core."""
    return _state(thread) in _STOPPED


def _state(thread: int) -> bytes:
    try:
        with open(f"/proc/{thread}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return b""
