"""The machine: its description, and the load by other programs during a measurement."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

QUIET = 0.05  # a share of the cores
LINUX_MEMORY, LINUX_CPU = Path("/proc/meminfo"), Path("/proc/stat")


class Watch:
    """The load of the machine by other programs within the block (Linux; elsewhere it is unknown: None)."""

    def __enter__(self) -> Watch:
        self._begin, self._busy_s = time.perf_counter(), _busy_s()
        return self

    def __exit__(self, *error: object) -> None:
        self._seconds, self._busy_s = time.perf_counter() - self._begin, _busy_s() - self._busy_s

    def foreign_cpu(self, own_s: float) -> float | None:
        """The share of the cores that was used, but not by the `own_s` CPU seconds; the host's theft counts."""
        if not LINUX_CPU.exists():
            return None
        return max(0.0, self._busy_s - own_s) / (self._seconds * (os.cpu_count() or 1))


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
    """The description of the machine, for the record of a scenario; the versions of the rivals are in the cases."""
    cpu = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
        "cpu": cpu[0] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes("MemTotal") or None,
    }


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
