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
    waits_since_s : float, optional
        Since when it has been waiting.
    starved_since_s : float, optional
        Since when a thread that rests in its event loop has had nothing to do.
    """

    __slots__ = ("_statistics", "ended_s", "mark_s", "starved_since_s", "waits_since_s")

    def __init__(self, statistics: StageStatistics) -> None:
        self._statistics = statistics
        self.mark_s = time.perf_counter()
        self.ended_s: float | None = None
        self.waits_since_s: float | None = None
        self.starved_since_s: float | None = None

    def count_busy(self) -> None:
        """Count the time since the last call as busy, without the time spent waiting."""
        now = time.perf_counter()
        self._statistics.busy_s += now - self.mark_s
        self.mark_s = now

    def going_on(self) -> tuple[float, float]:
        """Return how long it has been busy, and has waited, of what is not counted yet. Any thread may ask."""
        since_s, now_s = self.waits_since_s or self.starved_since_s, time.perf_counter()
        if self.ended_s is not None:
            return 0.0, 0.0
        if since_s is None:
            return max(0.0, now_s - self.mark_s), 0.0
        return max(0.0, since_s - self.mark_s), max(0.0, now_s - since_s)
