"""joblib, with input and output in memory maps that the user makes, as its page on working with numerical data shows.

Nothing is pickled then but the ranges: as quick as joblib gets, for the price of files, ranges and a function that
writes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np

from benchmarks.rivals import rival
from benchmarks.rivals.rival import ArrayWork

CHUNKS = 64


def _into(fn: Callable[[Any], Any], a: Any, out: Any, lo: int, hi: int) -> None:
    out[lo:hi] = fn(a[lo:hi])


class Rival(rival.Rival):
    @contextmanager
    def map_array(self, work: ArrayWork, workers: int) -> Iterator[Callable[[], Any]]:
        in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(dir=in_memory) as folder, joblib.Parallel(workers) as parallel:
            a, out = (np.memmap(f"{folder}/{name}", np.float64, "w+", shape=work.shape) for name in ("in", "out"))
            work.fill(a)
            ranges = work.ranges(CHUNKS)

            def call() -> Any:
                parallel(joblib.delayed(_into)(work.fn, a, out, lo, hi) for lo, hi in ranges)
                return out

            yield call
