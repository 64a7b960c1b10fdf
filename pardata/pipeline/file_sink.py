"""The sink that writes items to an array, or a table, in a file: in order, by one thread of the calling process.

That thread can write where no other process may: to an HDF5 file that is open here, to a store in memory. Rows are
collected until a chunk (or shard) is full, which is written once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.data.file_array import Array, FileArray
from pardata.data.new_file import NewFile, NewTable
from pardata.data.registry import new_output
from pardata.errors import ConfigError
from pardata.memory.plain import plain_array

_CHUNK_BYTES: Final = 4 << 20  # of a new file


class FileSink:
    """Writes items to an array in a file.

    Parameters
    ----------
    target : FileArray or str
        An array that is open for writing: items are its rows, or blocks of them; or the path of a new file, of which
        each item becomes a row, or, of a table, rows.
    key, compression : str, optional
        The name of the array in a new file, and how that is compressed.

    Raises
    ------
    ConfigError
        The array is open for reading, or the file is there already.
    """

    def __init__(self, target: FileArray | str, key: str | None = None, compression: Any = None) -> None:
        self._target = target
        self._options = key, compression
        self.name = os.path.basename(target if isinstance(target, str) else target.location)
        if isinstance(target, str):
            new_output(target, key, compression)  # raises what can be told now
        elif target.writers == "none" or not target.ndim:
            what = f"open for reading: {target.way_to_write}" if target.ndim else "a single number, which has no rows"
            raise ConfigError(f"to({target.location}): it is {what}")

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Write; yield nothing."""
        if isinstance(self._target, FileArray):
            _Band(self._target).write_all(items)
        else:
            made = new_output(self._target, *self._options)
            assert made is not None
            try:
                if isinstance(made, NewTable):
                    _add_all(made, items)
                else:
                    _fill(made, items)
                made.commit()
            finally:
                made.discard()
        yield from ()


def _add_all(made: NewTable, items: Iterator[Any]) -> None:
    for item in items:
        made.add(item)
        del item


def _fill(made: NewFile, items: Iterator[Any]) -> None:
    """Make the file for rows like the first item, and let it grow with the items."""
    band: _Band | None = None
    for item in items:
        if band is None:
            row = _plain(item, made.path)
            chunk_rows = max(1, _CHUNK_BYTES // max(1, row.nbytes))
            target = made.create((0, *row.shape), row.dtype, (chunk_rows, *(max(1, length) for length in row.shape)))
            band = _Band(target, made)
        band.add(item)
        del item
    if band is None:
        made.create((0,), np.dtype(float), (1,))
    else:
        band.flush()


class _Band:
    """Rows on their way to an array, until as many are there as are written at once."""

    def __init__(self, target: FileArray, new: NewFile | None = None) -> None:
        self._target = target
        self._new = new
        self._row_shape = target.shape[1:]
        self._rows: Array = np.empty((target.unit_shape[0], *self._row_shape), target.dtype)
        self._held = 0
        self._written = 0

    def write_all(self, items: Iterator[Any]) -> None:
        """Write all rows of the array; raise ValueError if the items are more or fewer."""
        for item in items:
            self.add(item)
            del item
        self.flush()
        if self._written != self._target.shape[0]:
            raise ValueError(f"{self._target.location} has {self._target.shape[0]} rows, and got {self._written}")

    def add(self, item: Any) -> None:
        """Take in a row, or a block of rows."""
        rows = self._checked(_plain(item, self._target.location))
        at = 0
        while at < len(rows):
            count = min(len(rows) - at, len(self._rows) - self._held)
            self._rows[self._held : self._held + count] = rows[at : at + count]
            self._held, at = self._held + count, at + count
            if self._held == len(self._rows):
                self.flush()

    def _checked(self, given: Array) -> Array:
        location, dtype = self._target.location, self._target.dtype
        is_exact = self._new is not None
        if not (given.dtype == dtype if is_exact else np.can_cast(given.dtype, dtype, "same_kind")):
            number = self._written + self._held
            raise ValueError(f"row {number} of {location} is of {given.dtype}, and the array of {dtype}")
        if given.shape == self._row_shape:
            return given[None]
        if not is_exact and given.shape[1:] == self._row_shape and given.ndim == self._target.ndim:
            return given
        raise ValueError(
            f"row {self._written + self._held} of {location} has shape {given.shape}; its rows have {self._row_shape} "
            f"(items that are blocks of rows go through unbatch() first)"
        )

    def flush(self) -> None:
        """Write the rows that are there."""
        end = self._written + self._held
        if self._new is not None:
            self._new.grow(end)
        elif end > self._target.shape[0]:
            raise ValueError(f"{self._target.location} has {self._target.shape[0]} rows, and got more")
        self._target[self._written : end] = self._rows[: self._held]
        self._written, self._held = end, 0


def _plain(item: Any, name: str) -> Array:
    return plain_array(item, f"{name} was given")
