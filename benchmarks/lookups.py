"""The work of the look-up scenarios: random keys out of a million ints, values of 32 bytes, in a warm worker."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

COUNT = 1_000_000
ROUNDS = 5


def contents() -> tuple[Any, Any]:
    """The keys, in no order, and their values."""
    rng = np.random.default_rng(0)
    values = rng.integers(1, 255, (COUNT, 32), np.uint8)
    return rng.permutation(COUNT) * 7, values.view("S32")[:, 0]


def asked(keys: Any, count: int) -> list[Any]:
    """For each round `count` random keys, none of them asked for before."""
    chosen = np.random.default_rng(1).permutation(keys)[: ROUNDS * count]
    return list(chosen.reshape(ROUNDS, count))


def one_by_one(lookup: Any, count: int) -> Callable[[Any], None]:
    """A round: every key by itself."""

    def look(keys: Any) -> None:
        for key in keys.tolist():
            lookup[key]

    return look


def in_batches(lookup: Any, batch: int) -> Callable[[Any], None]:
    """A round: the keys in batches."""

    def look(keys: Any) -> None:
        for begin in range(0, len(keys), batch):
            lookup.get_many(keys[begin : begin + batch])

    return look


def measure_rounds(look: Callable[[Any], None], rounds: list[Any]) -> list[float]:
    """Seconds per look-up in each round, after a warm-up."""
    look(rounds[0][: len(rounds[0]) // 10])
    seconds = []
    for keys in rounds:
        begin = time.perf_counter()
        look(keys)
        seconds.append((time.perf_counter() - begin) / len(keys))
    return seconds


def outcome(seconds: list[float], items: int) -> dict[str, Any]:
    """What a side reports: the median."""
    median = statistics.median(seconds)
    return {"value": median, "seconds": median, "items": items, "rounds": seconds}
