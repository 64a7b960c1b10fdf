"""One source, several processes behind it.

source --> worker, worker        --> here, in order     "farm": each item to one
source --> sink, sink, sink      --> here, as they come "broadcast": each item to all
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

WORKERS = 2
FARMED = 40
SINKS = 3
FEWEST_ITEMS = 12
SLOW_ITEMS, EACH_S, SLOW_S, SLOW_WORKERS = 400, 0.005, 0.15, 4


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


def marked(seconds: float, n: int, empty: Callable[..., Any]) -> Iterator[Any]:
    """Arrays that begin and end with their number, for `seconds`; the last one is an entry longer."""
    end = time.perf_counter() + seconds
    i = 0
    while i < FEWEST_ITEMS or time.perf_counter() < end:
        yield np.full(n, i, dtype=float)
        i += 1
    yield np.full(n + 1, i, dtype=float)


def sink(factor: float, x: Any) -> Any:
    """The result of a sink: an array of two numbers, since every rival can carry arrays."""
    assert x[0] == x[-1], f"an array begins with {x[0]} and ends with {x[-1]}"
    return np.array([x[0] * factor, float(len(x))])


def _broadcast(n: int, rival: Rival, seconds: float) -> Outcome:
    """Every array to three sinks, a small one from each back, in any order: checked by their sum."""
    flow = Flow(partial(marked, seconds, n), n * 8 + 8, tuple(partial(sink, 10.0**k) for k in range(SINKS)))
    sums = np.zeros(2)

    def add(x: Any, i: int) -> None:
        sums[:] += x

    _, result = arrivals(rival.broadcast(flow), add, 0.15)
    count = result["items"] // SINKS
    expected = [111.0 * count * (count - 1) / 2, SINKS * (count * n + 1.0)]
    assert result["items"] == SINKS * count and sums.tolist() == expected, f"{sums} of {count} items, not {expected}"
    return result | {"value": result["value"] / SINKS, "items": count}


def numbers(empty: Callable[..., Any]) -> Iterator[Any]:
    for i in range(SLOW_ITEMS):
        yield np.array([float(i)])


def wait(x: Any) -> Any:
    time.sleep(SLOW_S if x[0] % 100 == 10 else EACH_S)
    return x


def _slow_item(rival: Rival, seconds: float) -> Outcome:
    """One item of a hundred takes thirty times as long, in a farm of four that keeps the order."""
    flow = Flow(numbers, 8, (wait,), chunk=1)
    came = rival.farm(flow, SLOW_WORKERS)
    begin = 0.0
    for i, x in enumerate(came):
        assert x[0] == i, f"item {i} is {x[0]}"
        begin = begin or time.perf_counter()
    assert i == SLOW_ITEMS - 1
    taken = time.perf_counter() - begin
    return {"value": taken, "items": SLOW_ITEMS}


POOLS = ("mp.Pool", "concurrent.futures", "joblib", "mpire", "pebble", "pypeln", "ray tasks", "dask distributed")
LINKS = ("mp.Queue", "mp.Pipe", "faster-fifo")

CASES = (
    Case("farm", "8 MB frames through a filter, 2 workers", "items/s", ("pardata", "serial", "threads", *POOLS), _farm),
    Case(
        "broadcast",
        "8 MB arrays, each to 3 sinks",
        "items/s",
        ("pardata", "serial", "threads", "mp.Queue", "torch"),
        partial(_broadcast, 1_000_000),
        quick=(),
    ),
    Case(
        "broadcast_small",
        "800 B arrays, each to 3 sinks",
        "items/s",
        ("pardata", *LINKS),
        partial(_broadcast, 100),
    ),
    Case(
        "farm_slow_item",
        "one item of 100 takes 30 times as long; 4 workers, in order",
        "s",
        ("pardata", "limit", "mp.Pool", "joblib"),
        _slow_item,
    ),
)
