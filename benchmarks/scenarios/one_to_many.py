"""One source, several processes behind it.

source --> worker, worker        --> here, in order     "farm": each item to one
source --> sink, sink, sink      --> here, as they come "broadcast": each item to all
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals

WORKERS = 2
FARMED = 40
SINKS = 3
SLOW_ITEMS, EACH_S, SLOW_S, SLOW_WORKERS, WINDOW = 400, 0.005, 0.15, 4, 128


def frames(count: int, n: int, empty: Callable[..., Any]) -> Iterator[Any]:
    """Arrays whose entries are their number and three less than that, in turn."""
    for i in range(count):
        x = np.full(n, i, dtype=float)
        x[1::2] -= 3
        yield x


def smooth(x: Any) -> Any:
    """A filter of one frame, and another array as its result: some 20 ms for 8 MB."""
    return np.sqrt((x[:-1] + x[1:]) ** 2 + 1) * 0.5


def _check_frame(x: Any, i: int) -> None:
    expected = np.sqrt((2 * i - 3) ** 2 + 1) * 0.5
    assert abs(x[0] - expected) < 1e-9 and abs(x[-1] - expected) < 1e-9, f"frame {i} begins with {x[0]}"


def _farm(rival: Rival, seconds: float) -> Outcome:
    """Frames of 8 MB through a filter; a fixed number of them, since some pools read their whole input at once."""
    flow = Flow(partial(frames, FARMED, 1_000_000), 8_000_000, (smooth,))
    _, result = arrivals(rival.farm(flow, WORKERS), _check_frame, 0.15)
    assert result["items"] == FARMED, f"{result['items']} of {FARMED} frames came"
    return result


def total(x: Any) -> float:
    return float(x[0] + x[-1])


def largest(x: Any) -> float:
    return float(x[0])


def smallest(x: Any) -> float:
    return float(x[1])


class Sums:
    """Checks what comes in any order by what it adds up to."""

    def __init__(self) -> None:
        self.sum = 0.0

    def __call__(self, x: Any, i: int) -> None:
        self.sum += float(np.asarray(x).ravel()[0])


def _broadcast(n: int, per_second: int, rival: Rival, seconds: float) -> Outcome:
    """Every array to three sinks, a number from each back."""
    count = max(20, int(per_second * seconds))
    stages = tuple(partial(_as_array, fn) for fn in (total, largest, smallest))
    sums = Sums()
    flow = Flow(partial(frames, count, n), n * 8, stages)
    _, result = arrivals(rival.broadcast(flow), sums, 0.15)
    assert result["items"] == SINKS * count, f"{result['items']} of {SINKS * count} results came"
    expected = sum(2 * i - 3 + i + i - 3 for i in range(count))
    assert sums.sum == expected, f"the results add up to {sums.sum}, not {expected}"
    return result | {"value": result["value"] / SINKS, "items": count}


def _as_array(fn: Callable[[Any], float], x: Any) -> Any:
    """What a sink gives back: an array, as that is what every rival can carry."""
    return np.array([fn(x)])


def numbers(empty: Callable[..., Any]) -> Iterator[Any]:
    for i in range(SLOW_ITEMS):
        yield np.array([float(i)])


def wait(x: Any) -> Any:
    time.sleep(SLOW_S if x[0] % 100 == 10 else EACH_S)
    return x


def _slow_item(rival: Rival, seconds: float) -> Outcome:
    """One item of a hundred takes thirty times as long, in a farm of four that keeps the order."""
    flow = Flow(numbers, 8, (wait,), chunk=1, window=WINDOW)
    came = rival.farm(flow, SLOW_WORKERS)
    begin = 0.0
    for i, x in enumerate(came):
        assert x[0] == i, f"item {i} is {x[0]}"
        begin = begin or time.perf_counter()
    assert i == SLOW_ITEMS - 1
    taken = time.perf_counter() - begin
    return {"value": taken, "items": SLOW_ITEMS}


def ideal_s() -> float:
    """What four workers that never wait take for it."""
    return statistics.fsum(SLOW_S if i % 100 == 10 else EACH_S for i in range(SLOW_ITEMS)) / SLOW_WORKERS


POOLS = ("mp.Pool", "concurrent.futures", "joblib", "mpire", "pebble", "pypeln", "ray tasks", "dask distributed")
LINKS = ("mp.Queue", "mp.Pipe", "faster-fifo")

CASES = (
    Case("farm", "8 MB frames through a filter, 2 workers", "items/s", ("pardata", "serial", "threads", *POOLS), _farm),
    Case(
        "broadcast",
        "8 MB arrays, each to 3 sinks",
        "items/s",
        ("pardata", "serial", "threads", "mp.Queue", "torch"),
        partial(_broadcast, 1_000_000, 40),
        quick=(),
    ),
    Case(
        "broadcast_small",
        "800 B arrays, each to 3 sinks",
        "items/s",
        ("pardata", *LINKS),
        partial(_broadcast, 100, 10_000),
    ),
    Case(
        "farm_slow_item",
        "one item of 100 takes 30 times as long; 4 workers, in order",
        "s",
        ("pardata", "limit", "mp.Pool", "joblib"),
        _slow_item,
    ),
)
