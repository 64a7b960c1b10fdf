"""The work of the chain scenarios: what the source makes, what each of the three stages does, what must come out.

    source --> stage --> stage --> stage --> the measuring process

Both sides use the functions of this file, so that they cannot drift apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

STAGES = 3
WARM_UP = 0.15  # of the items: processes start, memory is touched for the first time, queues fill
FEWEST_ITEMS = 12  # however slow a side is, a rate over fewer says nothing


def whole(i: int, n: int, empty: Callable[..., Any]) -> Any:
    """An ordinary array, every entry written; the library's own memory is not asked for."""
    return np.full(n, i, dtype=float)


def first_entry(i: int, n: int, empty: Callable[..., Any]) -> Any:
    """An array in the memory that the library offers, one entry written."""
    x = empty(n)
    x[0] = i
    return x


def add_one(x: Any) -> Any:
    return x + 1


def add_one_inplace(x: Any) -> Any:
    x += 1
    return x


def touch(x: Any) -> Any:
    x[0] += 1
    return x


@dataclass(frozen=True)
class Chain:
    """`n` float64 per item, made by `make` and changed by `stage` three times."""

    n: int
    make: Callable[[int, int, Callable[..., Any]], Any]
    stage: Callable[[Any], Any]
    inplace: bool

    def items(self, seconds: float, empty: Callable[..., Any] = np.empty) -> Iterator[Any]:
        """The source: items for `seconds`. The last one is an entry longer, so that a lost tail is noticed."""
        end = time.perf_counter() + seconds
        i = 0
        while i < FEWEST_ITEMS or time.perf_counter() < end:
            yield self.make(i, self.n, empty)
            i += 1
        yield self.make(i, self.n + 1, empty)

    def check(self, x: Any, i: int) -> None:
        """The i-th arrival is the i-th item, changed three times; as cheap as it can be, it runs for every item."""
        assert x.dtype == np.float64, f"item {i}: {x.dtype}"
        assert x[0] == i + STAGES, f"item {i} begins with {x[0]}, not {i + STAGES}"
        if self.make is whole:
            assert x[-1] == i + STAGES, f"item {i} ends with {x[-1]}, not {i + STAGES}"


CHAINS = {
    "chain_copy": Chain(1_000_000, whole, add_one, inplace=False),
    "chain_inplace": Chain(1_000_000, whole, add_one_inplace, inplace=True),
    "chain_nocopy_80KB": Chain(10_000, first_entry, touch, inplace=True),
    "chain_nocopy_8MB": Chain(1_000_000, first_entry, touch, inplace=True),
    "chain_nocopy_80MB": Chain(10_000_000, first_entry, touch, inplace=True),
    "chain_small": Chain(100, whole, add_one, inplace=False),
}


def measure_arrivals(chain: Chain, arrivals: Iterable[Any]) -> dict[str, float]:
    """The steady rate at the consumer's end: checks every arrival, leaves the first `WARM_UP` out.

    Items that were still under way when the source ended count, although fewer processes share the cores then: that
    favours the side with the longer queues, which is not pardata.

    Returns
    -------
    dict with "value" (items/s), "items" (all that came) and "seconds" (of the counted ones)
    """
    times = []
    length = x = None
    for i, x in enumerate(arrivals):
        times.append(time.perf_counter())
        chain.check(x, i)
        length = len(x)
    assert length == chain.n + 1, f"the last item is missing: {len(times)} came, the last of length {length}"
    if chain.make is whole:
        assert np.all(x == len(times) - 1 + STAGES), "the last item is damaged"
    begin = int(len(times) * WARM_UP)
    seconds = times[-1] - times[begin]
    return {"value": (len(times) - 1 - begin) / seconds, "items": len(times), "seconds": seconds}
