"""The data that pieces are cut from; each source opens them in the process that works on a piece."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pardata.errors import BrokenError
from pardata.files.layout import Array
from pardata.files.paged import PagedFile
from pardata.memory.sealed import SealedHandle


class Source(Protocol):
    """The data that pieces are cut from."""

    def read(self, begin: int, end: int) -> Any:
        """Return the entries from `begin` to `end`."""


@dataclass(frozen=True)
class SharedRows:
    """Rows of an array in pardata's shared memory: sent to workers as an address."""

    array: Array

    def read(self, begin: int, end: int) -> Any:
        return self.array[begin:end]


@dataclass(frozen=True)
class SealedRows:
    """Rows of an array that was copied, once, into shared memory of its own."""

    handle: SealedHandle

    def read(self, begin: int, end: int) -> Any:
        return self.handle.arrays["rows"][begin:end]


@dataclass(frozen=True)
class SealedBytes:
    """Bytes that were copied, once, into shared memory of their own."""

    handle: SealedHandle

    def read(self, begin: int, end: int) -> bytes:
        return self.handle.arrays["bytes"][begin:end].tobytes()


@dataclass(frozen=True)
class SealedPickle:
    """A part of a list, pickled in shared memory."""

    handle: SealedHandle
    place: tuple[int, int]

    def read(self, begin: int, end: int) -> Any:
        return pickle.loads(self.handle.arrays["bytes"][slice(*self.place)].data)


@dataclass(frozen=True)
class MappedRows:
    """Rows of an array in a file, which is mapped in the process that reads them."""

    path: str
    stamp: tuple[int, ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    def read(self, begin: int, end: int) -> Any:
        with _unchanged(self.path, self.stamp) as file:
            return np.memmap(file, self.dtype, "r", self.offset, self.shape)[begin:end]


@dataclass(frozen=True)
class FileBytes:
    """Bytes of a file."""

    path: str
    stamp: tuple[int, ...]

    def read(self, begin: int, end: int) -> bytes:
        with _unchanged(self.path, self.stamp) as file:
            file.seek(begin)
            return file.read(end - begin)


@dataclass(frozen=True)
class FileLines:
    """Lines of a text file in UTF-8, ended by a line feed."""

    file: FileBytes

    def read(self, begin: int, end: int) -> list[str]:
        lines = self.file.read(begin, end).split(b"\n")
        last = lines.pop()
        try:
            return [f"{line.decode()}\n" for line in lines] + ([last.decode()] if last else [])
        except UnicodeDecodeError as error:
            error.add_note(f"{self.file.path}, in its bytes {begin} to {end}, is no text in UTF-8")
            raise


@dataclass(frozen=True)
class PagedFileRows:
    """Records of a paged file."""

    file: PagedFile

    def read(self, begin: int, end: int) -> Any:
        return self.file[begin:end]


def stamp_of(file: str | int) -> tuple[int, ...]:
    """Return device, inode, size and time of change of a file: other values mean other contents."""
    found = os.stat(file)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextlib.contextmanager
def _unchanged(path: str, stamp: tuple[int, ...]) -> Iterator[io.BufferedReader]:
    """Yield the open file; raise `BrokenError` if it was changed between the split and the end of the block."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise BrokenError(f"{path} cannot be read any more: {error}") from error
        _check_stamp(file, stamp)
        yield file
        _check_stamp(file, stamp)


def _check_stamp(file: io.BufferedReader, stamp: tuple[int, ...]) -> None:
    if stamp_of(file.fileno()) != stamp:
        raise BrokenError(f"{file.name} was changed since it was split")
