"""The interface of an array in a file: its parts are read and written where they are needed, by any process.

      the user's object (zarr.Array, h5py.Dataset)  --adapt-->  FileArray  --pickle-->  how to open it again
                                                                    |                          |
                                                          used in this process        opened in a worker

A new format derives a class from `FileArray` and has a line in `data/registry.py`.
"""

from __future__ import annotations

import itertools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Final, Literal, Protocol

import numpy as np

from pardata.errors import BrokenError, ConfigError, StaleBlockError

Array = np.ndarray[Any, Any]
Selection = tuple[slice, ...]  # one for each axis, with bounds within the shape and step 1
Writers = Literal["none", "one", "in order", "many"]
FileMark = tuple[int, int, int]  # which file it is, its length, and when it was written to
EncodedChunks = list[tuple[tuple[int, ...], Array]]  # where each chunk begins, and its bytes

NETCDF_OF_HDF5: Final = -101  # NC_EHDFERR: HDF5 has refused something
_MOST_FILES: Final = 200_000  # a second
READ_BYTES: Final = 1 << 20  # of a file without chunks: to open it for a read costs about as much as to read so much


class ArrayObject(Protocol):
    """An array of a library: `registry.file_array` tells whether it is of one that has an adapter."""

    @property
    def shape(self) -> Any:
        """The length of each axis."""

    @property
    def dtype(self) -> Any:
        """As NumPy has it."""


class Encoder(Protocol):
    """Makes chunks as a file has them. Can be pickled."""

    def encode(self, selection: Selection, values: Array) -> EncodedChunks:
        """Return the chunks of a part that begins and ends where chunks do, or where the array ends."""


class FileArray(ABC):
    """An array in a file or a store. Pickles as how to open it again, never as its contents.

    Parameters
    ----------
    location : str
        The file or store, and the place in it: equal for the same array, and named in errors.
    shape : tuple of int
    dtype : dtype without objects
    page_shape : tuple of int
        The chunks that the format reads as a whole: blocks end where these end.
    unit_shape : tuple of int
        The part of the file that one writer at a time must write, a Zarr shard for instance: no two workers write one.
    writers : "none", "one", "in order" or "many"
        It was opened for reading; this process alone may write, and its threads; one thread, the first rows first; any
        process that opens it.
    obstacle : str
        The reason why other processes cannot open it; "" if they can.
    """

    way_to_write: str = 'open it with mode="r+"'  # in errors, where `writers` is "none"
    survives_kills: bool = False  # whether what was written stays whole if its process is killed while it writes more
    of_process: ClassVar[tuple[str, ...]] = ()  # attributes that change when this process reads: no part of a job

    def __init__(
        self,
        location: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        page_shape: tuple[int, ...],
        unit_shape: tuple[int, ...],
        writers: Writers,
        obstacle: str = "",
    ) -> None:
        if dtype.hasobject:
            raise ConfigError(
                f"{location} holds {dtype}, which NumPy has as Python objects (texts of any length, for instance): "
                f"they cannot be shared. Read what is needed, and give it as an array of fixed width"
            )
        self.location = location
        # nibabel has lengths of NumPy's int32, which no description of a new file takes.
        self.shape, self.page_shape, self.unit_shape = (
            tuple(map(int, lengths)) for lengths in (shape, page_shape, unit_shape)
        )
        self.dtype = dtype
        self.writers = writers
        self.obstacle = obstacle

    @abstractmethod
    def read_into(self, selection: Selection, out: Array) -> None:
        """Read a part into `out`, of its shape and this dtype; without a copy in between where the library can."""

    def write(self, selection: Selection, values: Array) -> None:
        """Write a part; `values` has its shape, and a dtype that NumPy casts.

        Not for formats that are only read: `writers` is "none" there, and outputs of theirs are refused before.
        """
        raise NotImplementedError(f"{self.location}: {self.way_to_write}")

    def sync(self, begin: int, end: int) -> None:
        """Have the system write what was written of some rows to the disk; of a format that survives kills."""
        raise NotImplementedError(f"{self.location} may be damaged by a kill")

    def forget(self, begin: int, end: int) -> None:
        """Remove the chunks of rows that are about to be written: one that a power cut has torn might be read first."""
        raise NotImplementedError(f"{self.location} may be damaged by a kill")

    def _compared(self) -> dict[str, Any]:
        """Return what a checkpoint compares it by, when a job goes on that reads it."""
        kept = {name: part for name, part in sorted(self.__dict__.items()) if name not in self.of_process}
        return {**kept, "age": self.age()}

    def age(self) -> object:
        """Return what tells that it was written to; None: nothing does, as at a URL."""
        path = self.__dict__.get("_path")
        return ages([path]) if isinstance(path, str) else None

    def encoder(self) -> Encoder | None:
        """Return what workers compress with, so that the only writer of a file need not; None: it has to."""
        return None

    def write_encoded(self, chunks: EncodedChunks) -> None:
        """Write what the encoder has made."""
        raise NotImplementedError(f"{self.location} has no encoder")

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def page_rows(self) -> int:
        """Rows per page."""
        return self.page_shape[0]

    @property
    def nbytes(self) -> int:
        """Of all entries, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Array:
        selection = self._selection(index)
        made = np.empty([part.stop - part.start for part in selection], self.dtype)
        if made.size:
            self.read_into(selection, made)
        given = index if isinstance(index, tuple) else (index,)
        return made[tuple(slice(None) if isinstance(part, slice) else 0 for part in given if part is not ...)]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return np.asarray(self[...], dtype)

    def __setitem__(self, index: Any, values: Array) -> None:
        selection = self._selection(index)
        if values.size:
            self.write(selection, values)

    def _selection(self, index: Any) -> Selection:
        given = index if isinstance(index, tuple) else () if index is ... else (index,)
        whole = (*given, *(slice(None),) * (self.ndim - len(given)))
        parts = [range(length)[part] for part, length in zip(whole, self.shape, strict=True)]
        if any(isinstance(part, range) and part.step != 1 for part in parts):
            raise IndexError(f"{self.location} is read without steps: array[:][::2] has them")
        bounds = [(part.start, part.stop) if isinstance(part, range) else (part, part + 1) for part in parts]
        return tuple(slice(low, max(low, high)) for low, high in bounds)

    def check_sendable(self) -> None:
        """Raise `ConfigError` if other processes cannot open it."""
        if self.obstacle:
            raise ConfigError(f"{self.location} cannot be opened by worker processes: {self.obstacle}")

    def __getstate__(self) -> dict[str, Any]:
        self.check_sendable()
        return self.__dict__

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.location}: {self.shape} {self.dtype}>"


def check_same(array: FileArray, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise `StaleBlockError` if an array that was opened again is not the one that it was."""
    if (tuple(shape), dtype) != (array.shape, array.dtype):
        raise StaleBlockError(
            f"{array.location} was replaced or resized meanwhile: it had shape {array.shape} and dtype {array.dtype}, "
            f"and has {tuple(shape)} and {dtype}"
        )


def file_mark(path: str) -> FileMark | None:
    """Return what tells whether a file is another one; None of folders and URLs."""
    if not os.path.isfile(path):
        return None
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def file_age(path: str) -> tuple[int, int]:
    """Return the size of a file and the time of its last write: equal for a copy that has kept its time."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def ages(paths: list[str]) -> object:
    """Return the ages of files; of a single one its own; None for what is no file."""
    found = [file_age(path) if os.path.isfile(path) else None for path in paths]
    return found if len(found) > 1 else found[0]


def folder_age(folder: str) -> list[tuple[str, int, int]]:
    """Return the ages of the files below a folder; of more than `_MOST_FILES`, those of the first, by their names."""
    files = itertools.islice(_below(folder), _MOST_FILES)
    return [(os.path.relpath(path, folder), *file_age(path)) for path in files]


def _below(folder: str) -> Iterator[str]:
    """Yield the files below a folder, in the order of their names."""
    for at, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(at, name) for name in sorted(names))


def check_mark(location: str, path: str, mark: FileMark | None) -> None:
    """Raise `StaleBlockError` if a file is not the one that it was, `BrokenError` if it is gone."""
    if mark is not None and file_mark(path) != mark:
        try:
            os.stat(path)
        except FileNotFoundError as error:
            raise gone(location, error) from error
        raise StaleBlockError(f"{location} was replaced or resized meanwhile: {path} was written to")


def gone(location: str, error: Exception) -> BrokenError:
    """Return the error for an array that cannot be opened again."""
    return BrokenError(f"{location} cannot be opened again: {error}{lock_hint(error)}")


def lock_hint(error: Exception) -> str:
    """Return what may be behind an error that NetCDF has of HDF5, of which it tells no more than a number."""
    if getattr(error, "errno", None) != NETCDF_OF_HDF5:
        return ""
    return " (HDF5 keeps all others out of a file that a process has open for writing: it must be closed first)"


def page_of_rows(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return a page of whole rows, for a format that has no chunks."""
    if not shape:
        return ()
    row_bytes = max(1, math.prod(shape[1:]) * dtype.itemsize)
    return (max(1, READ_BYTES // row_bytes), *shape[1:])
