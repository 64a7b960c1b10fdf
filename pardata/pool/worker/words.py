"""Words 16 to 19 of a span's header, which a pool's worker and its parent read of each other while a task runs.

Each word is written by the owner of the span only; while a worker's has no process, by the parent
(`WorkerSlot.clear`). They are hints for progress, time limits and blame. Tasks and their outcomes go over the channels
alone.
"""

from __future__ import annotations

import time
from typing import Any, Final

# In a worker's span; the first three are zero between two tasks.
POSITION: Final = 16  # how many calls of its task are done
STRIDE: Final = 17  # how many calls it makes before it writes that again
STARTED_NS: Final = 18  # when the first of those began (time.perf_counter_ns, the same clock in all processes)
STARTUP_NS: Final = 19  # how long its processes took to start, all together, until they were ready for tasks

# In the parent's span.
HAS_IDLE_WORKER: Final = 16  # 1: a worker is idle and no task waits, so the others give a part of theirs back

_WORTH_NS: Final = 300_000  # a rest shorter than this is not given back: the message would cost as much


class TaskProgress:
    """Writes the progress of a task into shared words, and decides when it has to stop.

    Parameters
    ----------
    words, parent : memoryview
        Headers of this worker's span and of the parent's.
    """

    def __init__(self, words: memoryview, parent: memoryview) -> None:
        self.words = words
        self._parent = parent

    def begin(self, position: int, stride: int) -> None:
        """Note that the calls ``position .. position + stride - 1`` begin."""
        words = self.words
        # SYNC POINT: position. The time goes first, so a parent that found the call before late does not take the
        # position of this one for that of the late one (`Terminations`): it sees that the time has changed.
        words[STARTED_NS] = time.perf_counter_ns()
        words[POSITION], words[STRIDE] = position, stride

    def end(self) -> None:
        """Note that no task is being worked on."""
        words = self.words
        words[STARTED_NS] = words[STRIDE] = words[POSITION] = 0

    def must_stop(self, spent_ns: int, done: int, rest: int, limit_ns: int) -> bool:
        """Return whether the rest of the task is to be given back: it takes long, or a worker is idle."""
        if not limit_ns or rest <= 0:
            return False
        return spent_ns > limit_ns or (bool(self._parent[HAS_IDLE_WORKER]) and spent_ns * rest > _WORTH_NS * done)


class ThreadProgress(TaskProgress):
    """Also stops after the call at hand if the job was cancelled: a thread cannot be ended."""

    job: Any = None

    def must_stop(self, spent_ns: int, done: int, rest: int, limit_ns: int) -> bool:
        return getattr(self.job, "cancelled", False) or super().must_stop(spent_ns, done, rest, limit_ns)
