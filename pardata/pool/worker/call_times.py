"""The times of a task's calls: of all together, and of the longest one."""

from __future__ import annotations

import time
from typing import Any

from pardata.pool.jobs.job import Outcome
from pardata.runtime.faults import Fault


class CallTimes:
    """A clock that runs from the first call of a task to the last one."""

    __slots__ = ("_last", "_longest", "_longest_ns", "_start")  # a task may be one call of a microsecond

    def __init__(self) -> None:
        self._longest_ns = self._longest = 0
        self._start = self._last = time.perf_counter_ns()

    def end(self, place: int, is_one: bool = True) -> int:
        """Note that the call of a place in the task has ended; return the nanoseconds since the first one began.

        `is_one`: else they were several calls, of which none is told apart.
        """
        now = time.perf_counter_ns()
        if is_one and now - self._last > self._longest_ns:
            self._longest_ns, self._longest = now - self._last, place
        self._last = now
        return now - self._start

    def outcome(self, done: int, value: Any, fault: Fault | None) -> Outcome:
        """Return the outcome of the task."""
        seconds = (self._last - self._start) / 1e9
        return Outcome(done, value, fault, seconds, (self._longest_ns / 1e9, self._longest))
