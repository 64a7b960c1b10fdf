"""The generator filters behind a stream's methods: they regroup items, fold them, or write them to a file.

Those that run in a process of their own have `snapshot` and `restore`, so that a successor goes on for a killed one.
"""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from pardata.memory.disk import create_new, write_all
from pardata.memory.dtypes import check_npy
from pardata.memory.plain import plain_array

Array = np.ndarray[Any, Any]

_AGAIN: Final = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


_NEEDED: Final = "flat_map takes a function that returns a list or another iterable"


def pass_on(items: Iterator[Any]) -> Iterator[Any]:
    """Yield the items as they come."""
    yield from items


def flatten(items: Iterator[Iterable[Any]]) -> Iterator[Any]:
    """Yield the contents of each item."""
    for group in items:
        try:
            yield from group
        except TypeError as error:
            raise _named(error, group, "unbatch takes items that are lists, arrays or other iterables") from None


class Batches:
    """Lists of `count` items; the rest at the end is a shorter list, or is dropped with `drop_last`."""

    def __init__(self, count: int, drop_last: bool) -> None:
        self._count = count
        self._drop_last = drop_last

    def __call__(self, items: Iterator[Any]) -> Iterator[list[Any]]:
        """Yield the lists."""
        group: list[Any] = []
        for item in items:
            group.append(item)
            del item
            if len(group) == self._count:
                yield group
                group = []
        if group and not self._drop_last:
            yield group


class Windows:
    """Lists of `size` items in a row, one beginning every `step` items; no incomplete one."""

    def __init__(self, size: int, step: int) -> None:
        self._size = size
        self._step = step

    def __call__(self, items: Iterator[Any]) -> Iterator[list[Any]]:
        """Yield the lists."""
        window: deque[Any] = deque()
        passing = 0  # items in front of the next window
        for item in items:
            if passing:
                passing -= 1
                continue
            window.append(item)
            del item
            if len(window) == self._size:
                yield list(window)
                for _ in range(min(self._step, self._size)):
                    window.popleft()
                passing = max(0, self._step - self._size)


class Slice:
    """The items from number `begin` up to and without `end`; it takes no item behind them."""

    def __init__(self, begin: int, end: int | None) -> None:
        self._begin = begin
        self._end = end
        self.ends_early = end is not None

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the items."""
        return itertools.islice(items, self._begin, self._end)


class Enumerated:
    """Tuples of a number and an item."""

    def __init__(self, start: int) -> None:
        self._start = start

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the tuples."""
        return enumerate(items, self._start)


class FlatMap:
    """The items of ``fn(item)``, for one item after the other. It has no state: an item can be done again."""

    def __init__(self, fn: Callable[[Any], Iterable[Any]]) -> None:
        self._fn = fn

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


class NpyWriter:
    """Writes items as the rows of a ``.npy`` file, which has its name only when it is whole."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows = 0
        self._kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None  # of a row
        self._begin_bytes: int | None = None  # where the first row lies: behind the header

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Write; yield nothing."""
        part = f"{self._path}.part"
        if self._rows and not os.path.exists(part):
            return  # a predecessor has finished it
        file = os.open(part, _AGAIN) if self._rows else create_new(part)
        try:
            for item in items:
                row = plain_array(item, f"{self._path} was given")
                self._check(row)
                if self._begin_bytes is None:
                    self._begin_bytes = len(self._header())
                write_all(file, _bytes_of(row), self._begin_bytes + self._rows * row.nbytes, part)
                self._rows += 1
                del item
            write_all(file, self._header(), 0, part)  # now that the number of rows is known
        except BaseException:  # an error, or the end of the run; a killed process leaves the part to its successor
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.unlink(part)
            raise
        finally:
            os.close(file)
        os.replace(part, self._path)
        yield from ()

    def _check(self, row: Array) -> None:
        kind = row.dtype, row.shape
        if row.dtype.hasobject:
            raise ValueError(f"{self._path}: rows of {row.dtype} hold Python objects, which a .npy file cannot")
        if self._kind is None:
            check_npy(row.dtype, self._path)
            self._kind = kind
        elif self._kind != kind:
            raise ValueError(
                f"row {self._rows} of {self._path} has shape {row.shape} and dtype {row.dtype}; those before it have "
                f"{self._kind[1]} and {self._kind[0]}"
            )

    def _header(self) -> bytes:
        """Return the header, as long for any number of rows."""
        dtype, shape = self._kind or (np.dtype(float), ())
        file = io.BytesIO()
        fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (self._rows, *shape)}
        np.lib.format.write_array_header_1_0(file, fields)
        return file.getvalue()

    def snapshot(self) -> Any:
        """Return the number of rows, and the dtype and shape of a row."""
        return self._rows, self._kind

    def restore(self, state: Any) -> None:
        """Go on behind those rows."""
        self._rows, self._kind = state


def _bytes_of(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
