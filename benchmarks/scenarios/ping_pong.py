"""An array to another process and back, one at a time: the median round trip, and the slowest hundredth."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Rival
from benchmarks.timing import outcome

WARM_UP = 50


def _ping_pong(n: int, percent: int, rival: Rival, seconds: float) -> Outcome:
    """Round trips for `seconds`, 100 at least."""
    x = np.zeros(n)
    taken: list[float] = []
    with rival.ping_pong(x.nbytes) as call:
        end = time.perf_counter() + seconds
        while len(taken) < WARM_UP + 100 or time.perf_counter() < end:
            x[0] = x[-1] = len(taken)
            begin = time.perf_counter()
            back = call(x)
            taken.append(time.perf_counter() - begin)
            assert back[0] == back[-1] == len(taken) - 1 and len(back) == n, "another array came back"
            del back
    counted = taken[WARM_UP:]
    result = outcome(counted, p99=float(np.percentile(counted, 99)))
    return result | {"value": float(np.percentile(counted, percent))}


LINKS = ("limit", "mp.Queue", "mp.Pipe")
SMALL = (*LINKS, "pardata.Queue", "faster-fifo", "threads", "concurrent.futures", "mp.Pool", "pebble")
CLUSTERS = ("ray actors", "ray compiled graph")
LARGE = ("pardata.Queue", "mp.Queue", "mp.Pipe", "torch")

CASES = (
    Case("ping_pong", "800 B, median", "s", ("pardata", *SMALL, *CLUSTERS), partial(_ping_pong, 100, 50)),
    Case("ping_pong_p99", "800 B, 99th percentile", "s", ("pardata", *LINKS), partial(_ping_pong, 100, 99), quick=()),
    Case("ping_pong_large", "8 MB, median", "s", ("pardata", *LARGE), partial(_ping_pong, 1_000_000, 50)),
)
