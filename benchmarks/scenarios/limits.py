"""The limits of the machine: figures that no library can pass, measured like the others."""

from __future__ import annotations

import mmap
import os
import time
from functools import partial

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome, repeat

TRIPS = 2_000


def _copy(nbytes: int, rival: Rival, seconds: float) -> Outcome:
    """From warm memory to warm memory."""
    source, target = np.ones(nbytes // 8), np.zeros(nbytes // 8)
    taken = repeat(lambda: np.copyto(target, source), seconds)
    assert target[0] == target[-1] == 1
    result = outcome(taken)
    return result | {"value": nbytes / result["value"] / 1e9}


def _fresh(nbytes: int, rival: Rival, seconds: float) -> Outcome:
    """Into shared memory that no process has touched before."""
    source = np.ones(nbytes // 8)

    def one() -> float:
        with mmap.mmap(-1, nbytes) as fresh:
            target = np.frombuffer(fresh)
            begin = time.perf_counter()
            np.copyto(target, source)
            taken = time.perf_counter() - begin
            assert target[-1] == 1
            del target
        return taken

    taken = [one() for _ in range(5)]
    result = outcome(taken)
    return result | {"value": nbytes / result["value"] / 1e9}


def _pipe(apart: bool, rival: Rival, seconds: float) -> Outcome:
    """Seconds for one byte to a forked process and back through two pipes, both on one core or on one each.

    Where the two run makes a great difference in a virtual machine: a core that waits must be woken by the host. Where
    cores cannot be chosen (macOS), the system places them.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    here, there = os.pipe(), os.pipe()
    pid = os.fork()
    _stay_on(cores[-1] if pid == 0 and apart else cores[0])
    if pid == 0:
        try:
            os.close(there[1])
            while data := os.read(there[0], 1):
                os.write(here[1], data)
        finally:
            os._exit(0)

    def trips() -> None:
        for _ in range(TRIPS):
            os.write(there[1], b".")
            assert os.read(here[0], 1) == b"."

    taken = repeat(trips, seconds, TRIPS)
    os.close(there[1])
    os.waitpid(pid, 0)
    return outcome(taken, TRIPS)


def _stay_on(core: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


CASES = (
    Case("limit_copy_8MB", "8 MB copied, warm", "GB/s", ("limit",), partial(_copy, 8_000_000), quick=("limit",)),
    Case("limit_copy_256MB", "256 MB copied, warm", "GB/s", ("limit",), partial(_copy, 2**28), quick=("limit",)),
    Case("limit_fresh", "256 MB copied into fresh shared memory", "GB/s", ("limit",), partial(_fresh, 2**28), quick=()),
    Case("limit_pipe", "a byte there and back, one core", "s", ("limit",), partial(_pipe, False), quick=("limit",)),
    Case(
        "limit_pipe_apart", "a byte there and back, two cores", "s", ("limit",), partial(_pipe, True), quick=("limit",)
    ),
)
