"""A chain of three stages.

    source --> stage --> stage --> stage --> the measuring process

"copy": the source makes an ordinary array and every stage returns a new one. "inplace": the stages change their
input. "nocopy": the source asks the library for memory and writes one entry, the stages change one entry: the cost
of a hop without the bytes. "hop" counts the cost of an item in each of its hops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals

STAGES = 3
WARM_UP = 0.15  # of the items: processes start, memory is touched for the first time, queues fill
LONGER = 3  # a chain of processes takes a second to come to its steady rate
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

    def items(self, seconds: float, empty: Callable[..., Any]) -> Iterator[Any]:
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

    def measure(self, rival: Rival, seconds: float) -> Outcome:
        """Items per second."""
        items = partial(self.items, LONGER * seconds)
        flow = Flow(items, self.n * 8 + 8, (self.stage,) * STAGES, self.inplace)
        (last,), result = arrivals(rival.chain(flow), self.check, WARM_UP)
        count = result["items"]
        assert len(last) == self.n + 1, f"the last item is missing: {count} came, the last of length {len(last)}"
        if self.make is whole:
            assert np.all(last == count - 1 + STAGES), "the last item is damaged"
        return result


HOPS = 3  # source, two stages, the caller


def _ones(count: int, empty: Callable[..., Any]) -> Iterator[Any]:
    for i in range(count):
        yield np.full(100, i, dtype=float)


def _check_hop(x: Any, i: int) -> None:
    assert x[0] == x[-1] == i + 2, f"item {i} is {x[0]} to {x[-1]}, not {i + 2}"


def _measure_hops(chunk: int | None, per_second: int, rival: Rival, seconds: float) -> Outcome:
    """Seconds per item and hop, of arrays of 800 bytes."""
    flow = Flow(partial(_ones, int(per_second * seconds)), 800, (add_one, add_one), chunk=chunk)
    _, result = arrivals(rival.chain(flow), _check_hop, 0.2)
    return {"value": 1 / result["value"] / HOPS, "items": result["items"], "seconds": result["seconds"]}


TEMPORARIES = 1000


def with_temporaries(x: Any) -> Any:
    """A stage that makes a thousand small arrays for each item: each of them is asked of the worker's allocator."""
    for _ in range(TEMPORARIES):
        made = np.empty(128)
    return x + made.size


def _measure_temporaries(rival: Rival, seconds: float) -> Outcome:
    """Seconds of CPU time per item in the stage: it is the allocator's, not the hop's."""
    flow = Flow(partial(_ones, int(4_000 * seconds)), 800, (timed_temporaries,))
    times: list[float] = []

    def check(x: Any, i: int) -> None:
        assert x[0] == i + 128, f"item {i} is {x[0]}"
        times.append(x[-1])

    _, result = arrivals(rival.chain(flow), check, WARM_UP)
    return result | {"value": float(np.median(times[len(times) // 5 :]))}


def timed_temporaries(x: Any) -> Any:
    """The result of `with_temporaries`, and behind it the CPU time that it took, in seconds."""
    begin = time.thread_time()
    made = with_temporaries(x)
    return np.append(made, time.thread_time() - begin)


def _chain(name: str, title: str, sides: tuple[str, ...], chain: Chain, quick: tuple[str, ...] = ()) -> Case:
    """`quick`: the rivals that ``--quick`` measures; without any it leaves the case out."""
    return Case(name, title, "items/s", ("pardata", *sides), chain.measure, quick=("pardata", *quick) if quick else ())


LINKS = ("mp.Queue", "mp.Pipe", "faster-fifo", "torch", "pardata.Queue", "mp.shared_memory")
ALL = ("serial", "threads", *LINKS, "pypeln")

CASES = (
    _chain(
        "chain_small",
        "800 B, new arrays",
        ("pardata, recorded", *ALL),
        Chain(100, whole, add_one, False),
        ("mp.Queue",),
    ),
    _chain("chain_copy_80KB", "80 KB, new arrays", ("mp.Queue",), Chain(10_000, whole, add_one, False)),
    _chain(
        "chain_copy",
        "8 MB, new arrays",
        (*ALL, "ray actors"),
        Chain(1_000_000, whole, add_one, False),
        ("mp.Queue",),
    ),
    _chain("chain_copy_80MB", "80 MB, new arrays", ("mp.shared_memory",), Chain(10_000_000, whole, add_one, False)),
    _chain("chain_inplace_80KB", "80 KB, in place", ("mp.Queue",), Chain(10_000, whole, add_one_inplace, True)),
    _chain(
        "chain_inplace",
        "8 MB, in place",
        ("serial", "mp.Queue", "torch", "mp.shared_memory"),
        Chain(1_000_000, whole, add_one_inplace, True),
        ("mp.Queue",),
    ),
    _chain(
        "chain_inplace_80MB", "80 MB, in place", ("mp.shared_memory",), Chain(10_000_000, whole, add_one_inplace, True)
    ),
    _chain("chain_nocopy_80KB", "80 KB, one entry changed", ("mp.Queue",), Chain(10_000, first_entry, touch, True)),
    _chain(
        "chain_nocopy_8MB",
        "8 MB, one entry changed",
        ("mp.Queue", "torch", "mp.shared_memory"),
        Chain(1_000_000, first_entry, touch, True),
        ("mp.Queue",),
    ),
    _chain("chain_nocopy_80MB", "80 MB, one entry changed", (), Chain(10_000_000, first_entry, touch, True)),
    Case(
        "hop_single",
        "per item and hop, 800 B, one per message",
        "s",
        ("pardata", "mp.Queue", "mp.Pipe", "faster-fifo"),
        partial(_measure_hops, 1, 12_000),
    ),
    Case(
        "temporaries",
        "CPU time of a stage that makes 1,000 arrays of 1 KB",
        "s",
        ("pardata", "pardata, copying"),
        _measure_temporaries,
        quick=(),
    ),
    Case(
        "hop_batched",
        "per item and hop, 800 B, in batches",
        "s",
        ("pardata", "pardata, recorded", "mp.Queue"),
        partial(_measure_hops, None, 120_000),
    ),
)
