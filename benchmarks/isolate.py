"""Runs one side of one round in a process of its own, and measures its cost: CPU, memory, processes left behind.

Linux: this process makes itself the reaper of all its descendants, so the CPU seconds of workers that are not children
of the measured process (those of a forkserver) are counted when they end, and those that do not end are noticed.
Elsewhere only the children that the measured process waits for are counted.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import Watch
from benchmarks.processes import PeakMemory

TIMEOUT_S = 60.0
GRACE_S = 5.0  # for processes that outlive the measured one to go by themselves
PR_SET_CHILD_SUBREAPER = 36


class SideFailed(Exception):
    """A side gave no result: it raised, gave a wrong one, was killed or took too long."""


def become_reaper() -> None:
    """Adopt orphaned descendants (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run_side(
    case: str, side: str, seconds: float, peak_is_value: bool = False, root: Path | None = None
) -> dict[str, Any]:
    """The side's outcome and its cost.

    Added are "cpu_s" (of all its processes), "foreign_cpu" (the share of the cores that other programs had),
    "peak_bytes" (of all its processes together), "left_processes" and, if it wrote there, "stderr". `root`: of other
    sources, which are run in place of these.

    Raises
    ------
    SideFailed      with the end of the text that the side wrote to stderr.
    """
    command = [sys.executable, "-m", "benchmarks.run_side", case, side, str(seconds)]
    cpu_s = -_children_cpu_s()
    with Watch() as watch, PeakMemory(os.getpid()) as memory:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=root
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            left = _reap()
            raise SideFailed(f"no result after {TIMEOUT_S:g} s") from None
        left = _reap()
    if process.returncode != 0:
        raise SideFailed(f"exit status {process.returncode}: {' | '.join(err.strip().splitlines()[-3:])}")
    cpu_s += _children_cpu_s()
    outcome: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    if peak_is_value:
        outcome["value"] = (memory.peak_bytes or 0) / 1e6
    return outcome | {
        "cpu_s": cpu_s,
        "foreign_cpu": watch.foreign_cpu(cpu_s),
        "peak_bytes": memory.peak_bytes,
        "left_processes": left,
        "stderr": err.strip()[-500:],
    }


def _children_cpu_s() -> float:
    """CPU seconds of all descendants that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap() -> int:
    """Wait for adopted processes; kill those that are still there after the grace time, and say how many."""
    end = time.perf_counter() + GRACE_S
    while time.perf_counter() < end:
        if not _reap_ended():
            return 0
        time.sleep(0.01)
    left = _children()
    while _reap_ended():
        for pid in _children():  # not yet waited for, so the number is still theirs
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return len(left)


def _reap_ended() -> bool:
    """Wait for every child that has ended; True while others run."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
    return False


def _children() -> list[int]:
    """The pids of this process's children (Linux)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(stat.parent.name))
    return found
