"""A fan-out and the fan-in behind it: two results for each item, joined in order.

              /--> gradient --\\
    source --+                 +--> join --> here
              \\--> level ----/
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals

FEWEST_ITEMS = 12


def ramps(seconds: float, n: int, empty: Callable[..., Any]) -> Iterator[Any]:
    """Arrays of one slope each, the number of the array, for `seconds`. The last one is an entry longer."""
    ramp = np.arange(n + 1, dtype=float)
    end = time.perf_counter() + seconds
    i = 0
    while i < FEWEST_ITEMS or time.perf_counter() < end:
        yield ramp[:n] * i
        i += 1
    yield ramp * i


def slope(x: Any) -> Any:
    """As large as the array."""
    return np.diff(x)


def level(x: Any) -> Any:
    """One entry."""
    return x[:1] + x.mean()


def join(left: Any, right: Any) -> Any:
    return np.array([left[0], left[-1], right[0]])


def _diamond(n: int, rival: Rival, seconds: float) -> Outcome:
    flow = Flow(partial(ramps, seconds, n), n * 8 + 8, (slope, level))
    levels: list[float] = []

    def check(x: Any, i: int) -> None:
        assert x[0] == x[1] == i, f"item {i} is {x}"
        levels.append(x[2])

    _, result = arrivals(rival.diamond(flow, join), check, 0.15)
    expected = np.arange(len(levels)) * (n - 1) / 2
    expected[-1] += (len(levels) - 1) / 2  # the longer one: a lost tail is noticed
    assert np.allclose(levels, expected, rtol=1e-9), f"wrong levels among {len(levels)}, the last {levels[-1]}"
    return result


LARGE = ("pardata", "serial", "threads", "mp.Queue", "torch", "ray compiled graph")
SMALL = ("pardata", "mp.Queue", "mp.Pipe", "faster-fifo")

CASES = (
    Case("diamond", "8 MB arrays", "items/s", LARGE, partial(_diamond, 1_000_000), quick=()),
    Case("diamond_small", "800 B arrays", "items/s", SMALL, partial(_diamond, 100)),
)
