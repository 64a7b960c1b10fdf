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


class Running:
    """A generator filter that says what it knows."""

    def __init__(self) -> None:
        self.total: Any = 0

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            self.total = (self.total + item) % 1009
            yield self.total

    def snapshot(self) -> Any:
        return self.total

    def restore(self, state: Any) -> None:
        self.total = state


def twice(x: Any) -> Iterator[Any]:
    yield x
    if int(np.ravel(x)[0]) % 3:
        yield x + 1


def add(sum_: Any, x: Any) -> Any:
    return (sum_ + x) % 1009


def refuse(x: Any) -> Any:
    if int(np.ravel(x)[0]) % 7 == 0:
        raise ValueError("refused")
    return x


def regrouped(source: pardata.Stream) -> pardata.Stream:
    """Stages that number anew: with a state, and in the main process."""
    pairs = source.map(next_one).flat_map(twice).window(2, 1).map(total, workers=2)
    running = pairs | Running()
    return pardata.concat(running.map(same), pardata.source(numbers).reduce(add, 0))


def branches(source: pardata.Stream) -> pardata.Stream:
    """Streams that share the items, by key and by load."""
    even, odd = source.map(same).partition(lambda x: int(np.ravel(x)[0]), 2)
    both = pardata.merge(even.map(double, workers=2), odd, policy="ordered")
    return pardata.merge(*both.map(same).scatter(2), policy="ordered")


def letters(source: pardata.Stream) -> pardata.Stream:
    """Dead letters that are mended."""
    good = source.map(refuse, workers=2, errors="stream")
    mended = good.failed.map(lambda letter: letter.item * 3)
    return pardata.merge(good.map(double), mended, policy="ordered")


def as_key(item: Any) -> Any:
    return item if isinstance(item, int) else (float(item.sum()), float(item[0]), float(item[-1]))
