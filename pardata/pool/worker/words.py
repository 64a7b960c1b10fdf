"""Words 16 to 19 of a span's header: what a pool's worker and its parent read of each other while a task runs.

Each word is written by the owner of the span only. They are hints for progress, time limits and blame; which task is
whose, and what came of it, is told by the channels.
"""

from __future__ import annotations

from typing import Final

# In a worker's span; the first three are zero between two tasks.
POSITION: Final = 16  # how many calls of its task are done
STRIDE: Final = 17  # how many calls it makes before it writes that again
STARTED_NS: Final = 18  # when the first of those began (time.perf_counter_ns, the same clock in all processes)
START_NS: Final = 19  # how long its processes took to start, all together, until they were ready for tasks

# In the parent's span.
HAS_IDLE_WORKER: Final = 16  # 1: a worker is idle and nothing waits, so whoever can gives something back
