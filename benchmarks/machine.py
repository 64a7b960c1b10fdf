"""The machine: what it is, and what goes on there while something is measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import threading
import time
from pathlib import Path
from typing import Any

WATCH_S = 0.1
QUIET = 0.05  # a share of the cores
LINUX_MEMORY, LINUX_CPU = Path("/proc/meminfo"), Path("/proc/stat")


class Watch:
    """What happens on the whole machine meanwhile (Linux; elsewhere nothing is known, all is None).

    `peak_bytes` is by how much the available memory fell at most, looked at ten times a second.
    """

    peak_bytes: int | None = None

    def __enter__(self) -> Watch:
        self._begin, self._busy_s = time.perf_counter(), _busy_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_at_memory, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._seconds, self._busy_s = time.perf_counter() - self._begin, _busy_s() - self._busy_s

    def foreign_cpu(self, own_s: float) -> float | None:
        """The share of the cores that was used, but not by the `own_s` CPU seconds; the host's theft counts."""
        if not LINUX_CPU.exists():
            return None
        return max(0.0, self._busy_s - own_s) / (self._seconds * (os.cpu_count() or 1))

    def _look_at_memory(self) -> None:
        if not LINUX_MEMORY.exists():
            return
        before, self.peak_bytes = _memory_bytes("MemAvailable"), 0
        while not self._stop.wait(WATCH_S):
            self.peak_bytes = max(self.peak_bytes, before - _memory_bytes("MemAvailable"))


def wait_for_quiet(patience_s: float) -> None:
    """Return when the cores have been nearly idle for a second, or after `patience_s`."""
    end = time.perf_counter() + patience_s
    while time.perf_counter() < end:
        with Watch() as watch:
            time.sleep(1.0)
        if (watch.foreign_cpu(0.0) or 0.0) < QUIET:
            return


def _memory_bytes(field: str) -> int:
    return next((int(line.split()[1]) * 1024 for line in _lines(LINUX_MEMORY) if line.startswith(field)), 0)


def _busy_s() -> float:
    """CPU seconds of all cores since the start of the machine: user, nice, system, irq, softirq, steal."""
    lines = _lines(LINUX_CPU)
    if not lines:
        return 0.0
    ticks = [int(word) for word in lines[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """Where this was measured, and with which versions."""
    versions: dict[str, str | None] = {}
    for package in ("numpy", "cloudpickle", "tqdm", "pardata"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cpu = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes("MemTotal") or None,
        "load": os.getloadavg(),
        "versions": versions,
    }


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
