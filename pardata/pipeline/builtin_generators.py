"""The generator filters behind a stream's methods: they regroup items, or fold them.

They have `snapshot` and `restore`, so that a successor goes on for a killed process, and a run for one that was killed.
Without `snapshot`, `restore` gets the number of the items that were taken. `ends_early` says whether they may end while
there are items left: then errors of these do not count (`pipeline.plan.plan: Plan.sends_failures`). `made_of` says how
many items they make of so many, None if that depends on the items (`pipeline.plan.totals`).
"""

from __future__ import annotations

import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

_NEEDED: Final = "flat_map takes a function that returns a list or another iterable"


class PassedOn:
    """The items as they come."""

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield them."""
        yield from items

    def restore(self, taken: int) -> None:
        """Do nothing: an item leaves nothing behind."""


class Flattened:
    """The contents of each item, one after the other; `total` of them, if that is known."""

    ends_early = False

    def __init__(self, total: int | None = None) -> None:
        self._total = total

    def __call__(self, items: Iterator[Iterable[Any]]) -> Iterator[Any]:
        """Yield them."""
        for group in items:
            try:
                yield from group
            except TypeError as error:
                needed = "unbatch takes items that are lists, arrays or other iterables"
                raise _named(error, group, needed) from None

    def restore(self, taken: int) -> None:
        """Do nothing: an item leaves nothing behind."""

    def made_of(self, taken: int) -> int | None:
        """Return the number of outputs."""
        return self._total


class Batches:
    """Lists of `count` items; the rest at the end is a shorter list, or is dropped with `drop_last`."""

    ends_early = False

    def __init__(self, count: int, drop_last: bool) -> None:
        self._count = count
        self._drop_last = drop_last
        self._group: list[Any] = []

    def __call__(self, items: Iterator[Any]) -> Iterator[list[Any]]:
        """Yield the lists."""
        group = self._group = list(self._group)
        for item in items:
            group.append(item)
            del item
            if len(group) == self._count:
                self._group = []  # so that nobody but this function has the list that is yielded
                yield group
                group = self._group
        if group and not self._drop_last:
            yield group

    def snapshot(self) -> list[Any]:
        """Return the list that was begun."""
        return self._group

    def restore(self, state: list[Any]) -> None:
        """Go on with a list."""
        self._group = state

    def made_of(self, taken: int) -> int:
        """Return the number of outputs."""
        return taken // self._count if self._drop_last else -(-taken // self._count)


class Windows:
    """Lists of `size` items in a row, one beginning every `step` items; no incomplete one."""

    ends_early = False

    def __init__(self, size: int, step: int) -> None:
        self._size = size
        self._step = step
        self._window: deque[Any] = deque()
        self._passing = 0  # items in front of the next window

    def __call__(self, items: Iterator[Any]) -> Iterator[list[Any]]:
        """Yield the lists."""
        window, passing = self._window.copy(), self._passing
        self._window = window
        for item in items:
            if passing:
                passing = self._passing = passing - 1
                continue
            window.append(item)
            del item
            if len(window) == self._size:
                yield list(window)
                for _ in range(min(self._step, self._size)):
                    window.popleft()
                passing = self._passing = max(0, self._step - self._size)

    def snapshot(self) -> Any:
        """Return the items of the window, and how many are passed over."""
        return self._window, self._passing

    def restore(self, state: Any) -> None:
        """Go on with a window."""
        self._window, self._passing = state

    def made_of(self, taken: int) -> int:
        """Return the number of outputs."""
        return max(0, (taken - self._size) // self._step + 1)


class Slice:
    """The items from number `begin` up to and without `end`; it takes no item behind them.

    This and `Enumerated` have no snapshot: how many items they have taken tells where they are.
    """

    def __init__(self, begin: int, end: int | None) -> None:
        self._begin = begin
        self._end = end
        self.ends_early = end is not None

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the items."""
        return itertools.islice(items, self._begin, self._end)

    def restore(self, taken: int) -> None:
        """Go on behind so many items."""
        self._begin = max(0, self._begin - taken)
        self._end = None if self._end is None else max(0, self._end - taken)

    def made_of(self, taken: int) -> int:
        """Return the number of outputs."""
        return len(range(taken)[self._begin : self._end])


class Enumerated:
    """Tuples of a number and an item."""

    ends_early = False

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the tuples."""
        return enumerate(items, self._start)

    def restore(self, taken: int) -> None:
        """Go on behind so many items."""
        self._start += taken

    def made_of(self, taken: int) -> int:
        """Return the number of outputs."""
        return taken


class FlatMap:
    """The items of ``fn(item)``, one item after the other, `total` if known. It has no state: an item can be redone."""

    ends_early = False

    def __init__(self, fn: Callable[[Any], Iterable[Any]], total: int | None = None) -> None:
        self._fn = fn
        self._total = total

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the results."""
        for item in items:
            made = self._fn(item)
            try:
                yield from made
            except TypeError as error:
                raise _named(error, made, _NEEDED) from None
            del made

    def snapshot(self) -> None:
        """Return nothing."""

    def restore(self, state: None) -> None:
        """Do nothing."""

    def made_of(self, taken: int) -> int | None:
        """Return the number of outputs."""
        return self._total


class ListOf:
    """A function that returns ``list(fn(item))``."""

    def __init__(self, fn: Callable[[Any], Iterable[Any]]) -> None:
        self._fn = fn

    def __call__(self, item: Any) -> list[Any]:
        """Return the list."""
        made = self._fn(item)
        try:
            return list(made)
        except TypeError as error:
            raise _named(error, made, _NEEDED) from None


def _named(error: TypeError, made: Any, needed: str) -> TypeError:
    """Return the error of what is no iterable; another one as it is."""
    if hasattr(made, "__iter__") or hasattr(made, "__getitem__"):
        return error
    return TypeError(f"{needed}, not {type(made).__name__}")


class Reduce:
    """One item at the end: ``fn(... fn(fn(initial, item), item) ..., item)``."""

    ends_early = False

    def __init__(self, fn: Callable[[Any, Any], Any], initial: Any) -> None:
        self._fn = fn
        self._value = initial
        self._is_initial = True

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the value."""
        if self._is_initial:
            self._value = copy.deepcopy(self._value)  # the function may change it, and the user keeps the original
        for item in items:
            self._value = self._fn(self._value, item)
            del item
        yield self._value

    def snapshot(self) -> Any:
        """Return the value so far."""
        return self._value

    def restore(self, state: Any) -> None:
        """Go on with a value."""
        self._value = state
        self._is_initial = False

    def made_of(self, taken: int) -> int:
        """Return the number of outputs."""
        return 1
