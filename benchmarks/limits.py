"""What the machine allows: the figures that no library can pass, measured beside the scenarios."""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import numpy as np

ROUND_TRIPS = 20_000


def copy_gb_per_s(nbytes: int) -> float:
    """Bytes copied per second from warm memory to warm memory, in GB/s; the median of seven runs."""
    source, target = np.ones(nbytes // 8), np.ones(nbytes // 8)
    repeats = max(1, 2**28 // nbytes)
    rates = []
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(repeats):
            np.copyto(target, source)
        rates.append(repeats * nbytes / (time.perf_counter() - begin) / 1e9)
    return statistics.median(rates)


def pipe_round_trip_us(core: int, other_core: int) -> float:
    """Microseconds for one byte to a forked process and back through two pipes; the mean of `ROUND_TRIPS`.

    Where the two run makes a tenfold difference in a virtual machine: a core that waits must be woken by the host.
    Where cores cannot be chosen (macOS), the system places them.
    """
    here, there = os.pipe(), os.pipe()
    pid = os.fork()
    _stay_on(other_core if pid == 0 else core)
    if pid == 0:
        try:
            for _ in range(ROUND_TRIPS):
                os.write(there[1], os.read(here[0], 1))
        finally:
            os._exit(0)
    begin = time.perf_counter()
    for _ in range(ROUND_TRIPS):
        os.write(here[1], b".")
        os.read(there[0], 1)
    seconds = time.perf_counter() - begin
    os.waitpid(pid, 0)
    return seconds / ROUND_TRIPS * 1e6


def _stay_on(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def measure(name: str, seconds: float) -> dict[str, Any]:
    """All limits; the arguments are not used."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return {
        "memcpy_8MB_GB_per_s": copy_gb_per_s(8_000_000),
        "memcpy_256MB_GB_per_s": copy_gb_per_s(2**28),
        "pipe_round_trip_same_core_us": pipe_round_trip_us(cores[0], cores[0]),
        "pipe_round_trip_two_cores_us": pipe_round_trip_us(cores[0], cores[-1]),
    }
