"""Sixteen sources, one reader: the cost of an item of 800 bytes (one per message, or as many as the library chooses)
and of one of 8 MB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.case import Case, Outcome
from benchmarks.rivals import Flow, Rival
from benchmarks.timing import arrivals

SENDERS = 16


def numbered(sender: int, count: int, n: int, empty: Callable[..., Any]) -> Iterator[Any]:
    """Arrays that begin with their sender and end with their number."""
    for i in range(count):
        x = np.zeros(n)
        x[0], x[-1] = sender, i
        yield x


class Order:
    """Checks that each item of a sender comes once, and in order."""

    def __init__(self, senders: int) -> None:
        self.seen = [0] * senders

    def __call__(self, x: Any, i: int) -> None:
        sender = int(x[0])
        assert x[-1] == self.seen[sender], f"sender {sender}: {x[-1]} came, not {self.seen[sender]}"
        self.seen[sender] += 1


def _gather(senders: int, n: int, per_second: int, chunk: int | None, rival: Rival, seconds: float) -> Outcome:
    """Seconds per item at the reader."""
    count = max(8, int(per_second * seconds) // senders)
    flows = [Flow(partial(numbered, sender, count, n), n * 8, chunk=chunk) for sender in range(senders)]
    order = Order(senders)
    _, result = arrivals(rival.gather(flows), order, 0.2)
    assert order.seen == [count] * senders, f"{order.seen} items came, not {count} of each"
    return {"value": 1 / result["value"], "items": result["items"], "seconds": result["seconds"]}


LINKS = ("mp.Queue", "mp.Pipe", "faster-fifo", "pardata.Queue")

CASES = (
    Case("gather", "an item, 800 B, 16 senders", "s", ("pardata", *LINKS), partial(_gather, SENDERS, 100, 40_000, 1)),
    Case("gather_one", "an item, 800 B, 1 sender", "s", ("pardata", *LINKS), partial(_gather, 1, 100, 40_000, 1)),
    Case(
        "gather_batched",
        "an item, 800 B, 16 senders, in batches",
        "s",
        ("pardata", *LINKS),
        partial(_gather, SENDERS, 100, 200_000, None),
        quick=(),
    ),
    Case(
        "gather_large",
        "an item, 8 MB, 16 senders",
        "s",
        ("pardata", "mp.Queue", "torch"),
        partial(_gather, SENDERS, 1_000_000, 128, None),
        quick=(),
    ),
)
