"""The sink that writes items to an array, or a table, in a file: in order, by one thread of the calling process.

That thread can write where no other process may: to an HDF5 file that is open here, to a store in memory. Rows are
collected until a chunk (or shard) is full, which is written once.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.data.file_array import Array, FileArray
from pardata.data.new_file import NewFile, NewTable
from pardata.data.registry import new_output
from pardata.errors import ConfigError
from pardata.memory.plain import plain_array
from pardata.pipeline.plan.file_writer import FileWriter

_CHUNK_BYTES: Final = 4 << 20  # of a new file
_State = tuple[int, Array, bytes]  # how many rows are written, those that wait for more, and the file's description


class FileSink(FileWriter):
    """Writes items to an array in a file.

    Parameters
    ----------
    target : FileArray or str
        An array that is open for writing: items are its rows, or blocks of them; or the path of a new file, of which
        each item becomes a row, or, of a table, rows.
    key, compression : str, optional
        The name of the array in a new file, and how that is compressed.

    Attributes
    ----------
    part : str, optional
        In a run with a checkpoint: the name of a new file until the run is done, which then gives it its own.

    Raises
    ------
    ConfigError
        The array is open for reading.
    """

    def __init__(self, target: FileArray | str, key: str | None = None, compression: Any = None) -> None:
        self._target = target
        self.path = target if isinstance(target, str) else ""
        self._options = key, compression
        self._state: _State | None = None
        self._band: _Band | None = None
        self._goes_on = False
        self.part: str | None = None
        self.name = os.path.basename(target if isinstance(target, str) else target.location)
        if isinstance(target, str):
            new_output(target, key, compression)  # raises what can be told now
        elif target.writers == "none" or not target.ndim:
            what = f"open for reading: {target.way_to_write}" if target.ndim else "a single number, which has no rows"
            raise ConfigError(f"to({target.location}): it is {what}")

    def _new(self) -> NewFile | NewTable | None:
        if isinstance(self._target, FileArray):
            return None
        made = new_output(self._target, *self._options)
        assert made is not None
        made.part = self.part or made.part
        return made

    def check_free(self) -> None:
        """Raise `ConfigError` if a new file cannot be made, or has a name that is taken."""
        made = self._new()
        if made is not None:
            made.check_free()

    def _compared(self) -> dict[str, Any]:
        """Return what a checkpoint compares it by: not by the contents of the array, which it changes."""
        target = self._target
        made = target if isinstance(target, str) else (target.location, target.shape, target.dtype)
        return {"target": made, "options": self._options}

    def why_not(self) -> str:
        target = self._target if isinstance(self._target, FileArray) else self._new()
        assert target is not None
        if isinstance(target, FileArray) and target.obstacle:
            return f"after a kill it cannot be opened again: {target.obstacle}"
        if target.survives_kills:
            return ""
        return "a kill in the midst of a write may damage a file of this format: write to .zarr or .npy"

    def going_on(self, part: str) -> FileSink:
        """Return the sink of a run with a checkpoint; `part`: the name of a new file until the run is done."""
        made = copy.copy(self)
        made.part, made._goes_on = part if isinstance(self._target, str) else None, True
        return made

    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        """Write; yield nothing."""
        new = self._new()
        try:
            if isinstance(new, NewTable):
                for item in items:
                    new.add(item)
                    del item
            else:
                self._write_rows(new, items)
            if new is not None and self.part is not None:
                new.close()
            elif new is not None:
                new.commit()
        finally:
            if new is not None and self.part is None:
                new.discard()
        yield from ()

    def _write_rows(self, new: NewFile | None, items: Iterator[Any]) -> None:
        if new is None or self._state is not None:
            self._band = self._opened(new)
        for item in items:
            if self._band is None:
                assert new is not None
                self._band = _band_for(new, item)
            self._band.add(item)
            del item
        if self._band is not None:
            self._band.end()
            if self._goes_on:
                self._band.sync()
        elif new is not None:
            empty = new.create((0,), np.dtype(float), (1,))
            if self._goes_on:
                empty.sync(0, 0)

    def _opened(self, new: NewFile | None) -> _Band:
        """Return the array that is there, or that of a new file which was begun in the run before."""
        written, held, description = self._state or (0, None, b"")
        if new is not None:
            return _Band(new.reopen(description, written), new, written, held)
        assert isinstance(self._target, FileArray)
        return _Band(self._target, None, written, held, self._goes_on)

    def snapshot(self) -> _State | None:
        """Have all chunks that are written on the disk. One that is not full is not written: a kill may tear it."""
        if self._band is None:
            return None
        self._band.sync()
        return self._band.state

    def restore(self, state: _State | None) -> None:
        """Go on there."""
        self._state = state


def _band_for(new: NewFile, item: Any) -> _Band:
    """Make a file for rows like the first item."""
    row = _plain(item, new.path)
    chunk_rows = max(1, _CHUNK_BYTES // max(1, row.nbytes))
    return _Band(new.create((0, *row.shape), row.dtype, (chunk_rows, *(max(1, length) for length in row.shape))), new)


class _Band:
    """Rows on their way to an array, until as many are there as are written at once."""

    def __init__(
        self,
        target: FileArray,
        new: NewFile | None = None,
        written: int = 0,
        held: Array | None = None,
        forgets: bool = False,
    ) -> None:
        self._target = target
        self._forgets = forgets
        self._new = new
        self._row_shape = target.shape[1:]
        self._rows: Array = np.empty((target.unit_shape[0], *self._row_shape), target.dtype)
        self._written = self._synced = written
        self._held = 0 if held is None else len(held)
        if held is not None:
            self._rows[: len(held)] = held

    def end(self) -> None:
        """Write the rest; raise ValueError if an array that was there has more rows."""
        self.flush()
        if self._new is None and self._written != self._target.shape[0]:
            raise ValueError(f"{self._target.location} has {self._target.shape[0]} rows, and got {self._written}")

    @property
    def state(self) -> _State:
        """Its position, with the rows that are not written yet, for a run that goes on."""
        description = b"" if self._new is None else self._new.description()
        return self._written, self._rows[: self._held].copy(), description

    def sync(self) -> None:
        """Have all that is written on the disk."""
        if self._written > self._synced:
            self._target.sync(self._synced, self._written)
            self._synced = self._written

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
        # Of Zarr's format 3 an array has the machine's byte order.
        same = given.dtype in (dtype, dtype.newbyteorder("S"))
        if not (same if is_exact else np.can_cast(given.dtype, dtype, "same_kind")):
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
        """Write the rows that are there. Without any nothing is written: a cut has flushed the array as it is."""
        if not self._held:
            return
        end = self._written + self._held
        if self._new is not None:
            self._new.grow(end)
        elif end > self._target.shape[0]:
            raise ValueError(f"{self._target.location} has {self._target.shape[0]} rows, and got more")
        # A chunk of which there are only some rows keeps the others: then the items were too few.
        if self._forgets and (self._held == len(self._rows) or end == self._target.shape[0]):
            self._target.forget(self._written, end)
        self._target[self._written : end] = self._rows[: self._held]
        self._written, self._held = end, 0


def _plain(item: Any, name: str) -> Array:
    return plain_array(item, f"{name} was given")
