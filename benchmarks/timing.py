"""The timing within the measured processes: warm up, repeat, take the median, check."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.case import Outcome

FEWEST = 3  # a median over fewer says nothing


def repeat(work: Callable[[], Any], seconds: float, items: int = 1, fewest: int = FEWEST) -> list[float]:
    """Seconds per item of `work`, which does `items`, as often as fits into `seconds` after one that does not count."""
    work()
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < fewest or time.perf_counter() < end:
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) / items)
    return taken


def outcome(values: list[float], items: int = 1, **more: Any) -> Outcome:
    """The median of some values, each of `items`, and how they lie."""
    ordered = sorted(values)
    spread = [ordered[0], ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4], ordered[-1]]
    return {"value": statistics.median(values), "items": items * len(values), "quartiles": spread} | more


def arrivals(stream: Iterable[Any], check: Callable[[Any, int], None], warm_up: float) -> tuple[list[Any], Outcome]:
    """The steady rate at a consumer's end: checks every arrival, leaves the share `warm_up` of them out.

    Items that were still under way when the source ended count, although fewer processes share the cores then: that
    favours the side with the longer queues, which is not pardata.

    Returns
    -------
    the last item in a list, and a dict with "value" (items/s), "items" (all that came), "seconds" (of the counted ones)
    """
    times: list[float] = []
    item = None
    for i, item in enumerate(stream):
        times.append(time.perf_counter())
        check(item, i)
    begin = int(len(times) * warm_up)
    assert len(times) > begin + 1, f"{len(times)} items came, too few for a rate"
    seconds = times[-1] - times[begin]
    return [item], {"value": (len(times) - 1 - begin) / seconds, "items": len(times), "seconds": seconds}
