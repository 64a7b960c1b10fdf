"""The order of a dataset's items in each epoch, and how they make batches. Pure: it follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from types import FunctionType
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.feeding.seeds import ORDER, words_of
from pardata.pipeline.plan.numbers import is_count


@dataclass(frozen=True)
class Sampling:
    """The way in which keys of items, of which each worker gets a list, are made.

    Parameters
    ----------
    count : int, optional
        Items of the dataset, for an order of its own: without `sampler` and `batch_sampler`.
    batch_size : int, optional
        None: each item comes by itself.
    sampler : iterable of keys, optional
    batch_sampler : iterable of lists of keys, optional
    """

    count: int | None
    batch_size: int | None
    shuffle: bool = False
    drop_last: bool = False
    sampler: Any = None
    batch_sampler: Any = None

    def lists(self, seed: int, epoch: int) -> Iterator[list[Any]]:
        """Yield the keys of one batch after the other."""
        if self.batch_sampler is not None:
            for keys in map(list, not_empty(self.batch_sampler, "batch_sampler")):
                if not keys:
                    raise ConfigError("the batch_sampler has given a batch without keys: leave it out there")
                yield keys
            return
        size = self.batch_size or 1
        if self.sampler is None:
            lists: Iterator[list[Any]] = self._own(seed, epoch, size)
        else:
            lists = in_lists(not_empty(self.sampler, "sampler"), size)
        for keys in lists:
            if len(keys) == size or not self.drop_last:
                yield keys

    def _own(self, seed: int, epoch: int, size: int) -> Iterator[list[int]]:
        """Yield numbers of items. Shuffled ones are drawn as an array: Python's integers are made per batch."""
        count = self.count or 0
        if not self.shuffle:
            yield from (list(range(begin, min(begin + size, count))) for begin in range(0, count, size))
            return
        order = np.random.default_rng(words_of(seed, ORDER, epoch)).permutation(count)
        yield from (order[begin : begin + size].tolist() for begin in range(0, count, size))

    def __len__(self) -> int:
        """The number of batches. Raises TypeError if a sampler does not know its own."""
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        items = self.count if self.sampler is None else len(self.sampler)
        return batches_in(items or 0, self.batch_size or 1, self.drop_last)


def in_lists(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items; the last one may be shorter."""
    iterator = only_once(items)
    while found := list(islice(iterator, size)):
        yield found


def only_once(items: Iterable[Any]) -> Iterator[Any]:
    """Return an iterator that asks `items` for an iterator once, and for nothing after its end.

    An object may be its own iterator, and begin anew at each call of its `__iter__` (as `itertools.islice` makes one),
    or after its end: a loop over parts of it would have no end.
    """
    return chain(items)


def not_empty(items: Iterable[Any], name: str) -> Iterator[Any]:
    """Return an iterator over `items`, called `name`. Raises ConfigError if a loop before has read them to the end."""
    if not is_read_once(items):
        return only_once(items)
    for first in items:
        return chain([first], items)
    raise ConfigError(
        f"the {name} is a {type(items).__name__}, which can be read only once, and nothing is left in it: for several "
        f"epochs give a list, or an object whose __iter__ begins anew"
    )


def is_read_once(items: object) -> bool:
    """Return whether this is a generator or another iterator of Python's own. One of a user's class may begin anew."""
    return isinstance(items, Iterator) and not isinstance(type(items).__iter__, FunctionType)


def batches_in(items: int, size: int, drop_last: bool) -> int:
    """Return how many batches so many items make."""
    return items // size if drop_last else -(-items // size)


def check_sampling(batch_size: int | None, shuffle: bool, drop_last: bool, sampler: Any, batch_sampler: Any) -> None:
    """Raise ConfigError for arguments that do not go together."""
    if batch_size is not None and not is_count(batch_size, 1):
        raise ConfigError(f"batch_size must be an int of at least 1, or None for single items, not {batch_size!r}")
    for name, given in (("sampler", sampler), ("batch_sampler", batch_sampler)):
        if given is not None and not hasattr(given, "__iter__") and not hasattr(given, "__getitem__"):
            raise ConfigError(f"{name} must be an iterable, read anew for each epoch, not {type(given).__name__}")
    if sampler is not None and shuffle:
        raise ConfigError("a sampler decides on the order itself: leave out shuffle")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ConfigError("a batch_sampler makes whole batches: leave out batch_size, shuffle, sampler and drop_last")
    if batch_size is None and drop_last:
        raise ConfigError("drop_last is about batches: with batch_size=None there are none")
