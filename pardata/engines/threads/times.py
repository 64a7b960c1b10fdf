"""Accounts for the time of a thread of a run."""

from __future__ import annotations

import time

from pardata.runtime.progress import StageStatistics


class ThreadTimes:
    """Counts a thread's time as busy, but for what it has spent waiting. All times are in s (time.perf_counter).

    Attributes
    ----------
    mark_s : float
        Until when the time is counted, moved on by what was spent waiting since then.
    ended_s : float, optional
        When the thread has ended.
    starved_since_s : float, optional
        Since when a thread that rests in its event loop has had nothing to do.
    """

    __slots__ = ("_statistics", "ended_s", "mark_s", "starved_since_s")

    def __init__(self, statistics: StageStatistics) -> None:
        self._statistics = statistics
        self.mark_s = time.perf_counter()
        self.ended_s: float | None = None
        self.starved_since_s: float | None = None

    def count_busy(self) -> None:
        """Count the time since the last call as busy, without the time spent waiting."""
        now = time.perf_counter()
        self._statistics.busy_s += now - self.mark_s
        self.mark_s = now
