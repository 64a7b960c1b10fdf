"""A fan-out and the fan-in behind it: two results for each item, joined in order.

              /--> gradient --\\
    source --+                 +--> join --> here
              \\--> level ----/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals


def ramps(count: int, n: int, empty: Callable[..., Any]) -> Iterator[Any]:
    """Arrays of one slope each, the number of the array."""
    ramp = np.arange(n, dtype=float)
    for i in range(count):
        yield ramp * i


def slope(x: Any) -> Any:
    """As large as the array."""
    return np.diff(x)


def level(x: Any) -> Any:
    """One entry."""
    return x[:1] + x.mean()


def join(left: Any, right: Any) -> Any:
    return np.array([left[0], left[-1], right[0]])


def _diamond(n: int, per_second: int, rival: Rival, seconds: float) -> Outcome:
    count = max(20, int(per_second * seconds))
    flow = Flow(partial(ramps, count, n), n * 8, (slope, level))

    def check(x: Any, i: int) -> None:
        assert x[0] == x[1] == i and abs(x[2] - i * (n - 1) / 2) < 1e-6 * n, f"item {i} is {x}"

    _, result = arrivals(rival.diamond(flow, join), check, 0.15)
    assert result["items"] == count, f"{result['items']} of {count} pairs came"
    return result


LARGE = ("pardata", "serial", "threads", "mp.Queue", "torch", "ray actors", "ray compiled graph")
SMALL = ("pardata", "mp.Queue", "mp.Pipe", "faster-fifo")

CASES = (
    Case("diamond", "8 MB arrays", "items/s", LARGE, partial(_diamond, 1_000_000, 40), quick=()),
    Case("diamond_small", "800 B arrays", "items/s", SMALL, partial(_diamond, 100, 8_000)),
)
