"""Accounts for a worker's time in the words of its span: busy, starved, blocked, or over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pardata.channel.collector import Collector
from pardata.memory.arena import Arena
from pardata.runtime.header import (
    BEGUN_NS,
    BLOCKED_NS,
    BUSY_NS,
    CURRENT_CALL,
    ENDED,
    MEMORY,
    STARVED_NS,
    WAITS_FOR,
)
from pardata.runtime.worker.control import Control
from pardata.runtime.worker.program import TIMER_NAME, leave

T = TypeVar("T")


class TimeAccount:
    """Counts all of a worker's time; `wait` is the only place where a worker sleeps before its end.

    The worker is the single writer of these words. All times are in ns; BEGUN_NS is on the clock that all processes
    share (time.monotonic_ns).

    Attributes
    ----------
    rests_for : int, optional
        Of a worker that sleeps in an event loop: the word that counts its rest; None: its calls go on, so it is busy.
    rests_since_ns : int
        When the rest began (time.perf_counter_ns).
    """

    __slots__ = ("_arena", "_mark_ns", "_words", "collector", "control", "rests_for", "rests_since_ns")

    def __init__(self, words: memoryview, control: Control, collector: Collector, arena: Arena) -> None:
        self._words = words
        self.control = control
        self.collector = collector
        self._arena = arena
        self._mark_ns = time.perf_counter_ns()
        self.rests_for: int | None = None
        self.rests_since_ns = 0

    def restart(self) -> None:
        """Count from now on: until now the worker was not there."""
        self._mark_ns = time.perf_counter_ns()

    def count_busy(self) -> None:
        """Count the time since the last call as busy, but for what was spent in `wait`."""
        now = time.perf_counter_ns()
        self._words[BUSY_NS] += now - self._mark_ns
        self._mark_ns = now

    def wait(self, waits_for: int, ready: Callable[[], T | None], tick_s: float | None = None) -> T:
        """Sleep until ``ready()`` is true; return what it returned. It is asked after each event, and each `tick_s`.

        Raises `Cancelled` if the run is to end before that.
        """
        words = self._words
        begin = time.perf_counter_ns()
        counter = BLOCKED_NS if waits_for == MEMORY else waits_for
        is_timer = threading.current_thread().name == TIMER_NAME  # meanwhile the user's code may be running
        call = words[CURRENT_CALL]
        if not is_timer:
            words[CURRENT_CALL] = 0
            words[WAITS_FOR], words[BEGUN_NS] = waits_for, time.monotonic_ns()
        try:
            while not (result := ready()):
                if self.control.is_cancelled:
                    leave(words)
                self._arena.collect()  # other processes read in this span how much is live
                self.collector.wait(tick_s, for_input=counter == STARVED_NS)
        finally:
            waited = time.perf_counter_ns() - begin
            words[counter] += waited
            self._mark_ns += waited
            if not is_timer:  # also where it raised: the user's code may go on without the memory
                words[BEGUN_NS] = time.monotonic_ns()
                # `ready` may have taken a batch, and noted its call; else the one before goes on. SYNC POINT: begun.
                # The time first.
                words[CURRENT_CALL], words[WAITS_FOR] = words[CURRENT_CALL] or call, counter
        return result

    def end_rest(self) -> None:
        """Count the time since `rests_since_ns` as spent waiting."""
        assert self.rests_for is not None
        waited_ns = time.perf_counter_ns() - self.rests_since_ns
        self._words[self.rests_for] += waited_ns
        self._mark_ns += waited_ns

    def end(self) -> None:
        """Note that the work is over."""
        self.count_busy()
        self._words[BEGUN_NS] = time.monotonic_ns()
        self._words[CURRENT_CALL], self._words[WAITS_FOR] = 0, ENDED
