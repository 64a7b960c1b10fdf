"""Streams whose workers are killed. Imports nothing heavy: every worker that starts imports it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import pardata

ITEMS = 400


def frames() -> Iterator[np.ndarray]:
    """40 KB each: large enough to live in blocks."""
    for number in range(ITEMS):
        yield np.full(5_000, number, float)


def numbers() -> Iterator[int]:
    yield from range(10 * ITEMS)


def double(x: Any) -> Any:
    return x * 2


def next_one(x: Any) -> Any:
    return x + 1


def same(x: Any) -> Any:
    return x


def keeps(x: Any) -> bool:
    return int(np.ravel(x)[0]) % 3 != 0


def total(pair: Any) -> Any:
    return pair[0] + pair[1]


def chain(source: pardata.Stream) -> pardata.Stream:
    return source.map(next_one).map(same).map(double)


def farms(source: pardata.Stream) -> pardata.Stream:
    return source.map(next_one, workers=3).map(same, workers=2)


def diamond(source: pardata.Stream) -> pardata.Stream:
    stem = source.map(next_one, workers=2)
    return pardata.zip(stem.map(double), stem.filter(keeps, workers=2)).map(total)


def wide(source: pardata.Stream) -> pardata.Stream:
    """A fan-out whose branches hand the same block on, and meet again."""
    stem = source.map(same)
    return pardata.zip(stem.map(same), stem.map(same, workers=2), stem).map(lambda three: sum(three))


def as_key(item: Any) -> Any:
    return item if isinstance(item, int) else (float(item.sum()), float(item[0]), float(item[-1]))
