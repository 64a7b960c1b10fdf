"""The descendants of a process, and the memory that they have together (Linux)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

WATCH_S = 0.05
SHARE = 0.03  # of one core, for looking: the pages of large processes take milliseconds to count


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def cpu_s(pid: int) -> float:
    """The CPU seconds of a process. 0 if it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def pss_bytes(pid: int, kind: str = "Pss") -> int:
    """The proportional set size: memory that n processes share counts as an nth for each. 0 if the process is gone.

    `kind`: "Pss", or "Pss_Shmem" for the part of it that is shared memory.
    """
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    return 0


class PeakMemory:
    """The peak of the sum over all descendants of `root`, looked at as often as that takes `SHARE` of a core at most.

    `peak_bytes` is None where the system does not tell.
    """

    def __init__(self, root: int) -> None:
        self.root = root
        self.peak_bytes: int | None = None

    def __enter__(self) -> PeakMemory:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        if not Path("/proc/self/smaps_rollup").exists():
            return
        took_s = 0.0
        while not self._stop.wait(max(WATCH_S, took_s / SHARE)):
            begin = time.thread_time()
            now = sum(map(pss_bytes, descendants(self.root)))
            self.peak_bytes = max(self.peak_bytes or 0, now)
            took_s = time.thread_time() - begin
