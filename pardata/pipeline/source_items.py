"""The items of a source from a number on: for a run that goes on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.pipeline.plan.node import Counted


class RowsOfFile(Counted):
    """A generator function over the rows of a ``.npy`` file; only those that are read are loaded."""

    def __init__(self, path: str, count: int) -> None:
        self.path, self._count = path, count

    def __call__(self) -> Iterator[Any]:
        """Yield the rows."""
        yield from self.rows()

    def __len__(self) -> int:
        return self._count

    def rows(self) -> np.ndarray[Any, Any]:
        """Return all rows as one array."""
        rows: np.ndarray[Any, Any] = np.load(self.path, mmap_mode="r").view(np.ndarray)
        return rows


def is_factory(items: Any) -> bool:
    """Return whether a source is a function that is called for its items."""
    return callable(items) and not hasattr(items, "__iter__")


def items_from(items: Any, begin: int, name: str) -> Iterable[Any]:
    """Return the items of a source from number `begin` on.

    Those of a sequence are found by their numbers; others are made again, and the first are skipped.

    Raises
    ------
    ConfigError
        There are fewer.
    """
    if isinstance(items, RowsOfFile):
        items = items.rows()
    if isinstance(items, np.ndarray | range | list | tuple):
        made: Iterable[Any] = items[begin:]
        return made
    if isinstance(items, Sequence):
        return map(items.__getitem__, range(begin, len(items)))
    return _skipping(items() if is_factory(items) else items, begin, name)


def _skipping(items: Iterable[Any], begin: int, name: str) -> Iterator[Any]:
    rest = iter(items)
    skipped = sum(1 for _ in itertools.islice(rest, begin))
    if skipped < begin:
        raise ConfigError(
            f"source {name!r} gives only {skipped} items, and the checkpoint is at item {begin}: it must give the same "
            f"items again; restart=True begins again"
        )
    yield from rest
