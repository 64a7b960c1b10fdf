"""Write single pages of a paged file, each where it is made.

Pages are appended, and the kernel does that for one process after the other: so each process knows the place of its
pages, and none has to be reserved. The page of a killed worker stays as a gap; the repeated task appends another one.

      worker, append:   lock shared -> is the open file still the part? -> write -> unlock
      writer, finish:   lock exclusive -> index -> rename

So a worker that comes too late is refused, and never writes into a file that has its name already.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import ConfigError, LossError
from pardata.files.exact import exact
from pardata.files.layout import Format, padded_size
from pardata.memory.disk import naming
from pardata.memory.plain import plain_array
from pardata.process.system import at_fork, module

fcntl: Any = module("fcntl")

_WRITE_BYTES: Final = 4 << 20  # at once: the system stores large writes in large units, which are read faster
_MOST_BUFFERS: Final = 1000  # the system takes 1024

_in_use: weakref.WeakSet[PageWriter] = weakref.WeakSet()


def check_sequence(records: Any, kind: str) -> None:
    """Raise `ConfigError` if `records` cannot be a sequence of records."""
    if not isinstance(records, Iterable) or isinstance(records, str):
        raise ConfigError(f"a sequence of {kind} is expected, not {type(records).__name__}")


class PageEntry(NamedTuple):
    """A page that was written, and its place in bytes; to be given to `PagedWriter.add`."""

    number: int
    records: int
    offset: int
    nbytes: int


class PageWriter:
    """Writes single pages, in any process: the part of a `PagedWriter` that is sent to workers."""

    def __init__(self, part: str, file_id: tuple[int, int], form: Format) -> None:
        self.format = form
        self._part = part
        self._file_id = file_id
        self._fd = -1
        self._lock = threading.Lock()
        _in_use.add(self)

    def write_page(self, number: int, records: Any) -> PageEntry:
        """Write a page and return its place, which the `PagedWriter` has to `add`.

        Parameters
        ----------
        number : int
            Number of the page, from 0.
        records : array, shape (n, *item_shape), or sequence of bytes or objects
            As many rows as a page has; only the last page may have fewer.

        Returns
        -------
        PageEntry

        Raises
        ------
        ConfigError
            The records do not fit the file, or its writer is gone.
        OSError
            The disk is full.
        """
        if not isinstance(number, int | np.integer) or number < 0:
            raise ConfigError(f"the number of a page is an int of at least 0, not {number!r}")
        given = self.checked(records)
        if self.format.kind == "array" and not 0 < len(given) <= self.format.page_records:
            raise ConfigError(f"page {number} is to have 1 to {self.format.page_records} rows, not {len(given)}")
        (entry,) = self.write(int(number), [given])
        return entry

    def write_rows(self, number: int, rows: Any) -> list[PageEntry]:
        """Write checked rows as page `number` and the following ones."""
        size = self.format.page_records
        pages = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
        at_once = max(1, min(_WRITE_BYTES // (size * self.format.item_bytes), _MOST_BUFFERS // 3))
        entries: list[PageEntry] = []
        for begin in range(0, len(pages), at_once):
            entries += self.write(number + begin, pages[begin : begin + at_once])
        return entries

    def write(self, number: int, pages: Sequence[Any]) -> list[PageEntry]:
        """Write pages of records that `checked` has returned, one after the other."""
        buffers: list[Any] = []
        sizes = []
        for given in pages:
            stored = self.format.encode(given)
            size = sum(map(len, stored))
            buffers += [*stored, bytes(padded_size(size) - size)]
            sizes.append(size)
        offset = self._append(buffers)
        entries = []
        for index, (given, size) in enumerate(zip(pages, sizes, strict=True)):
            entries.append(PageEntry(number + index, len(given), offset, size))
            offset += padded_size(size)
        return entries

    def checked(self, records: Any) -> Any:
        """Return the records in the form in which they are stored; raise `ConfigError` if they do not fit."""
        form = self.format
        if form.kind != "array":
            check_sequence(records, form.kind)
            given = list(records)
            if form.kind == "bytes" and not all(isinstance(record, bytes | bytearray | memoryview) for record in given):
                raise ConfigError("the records of this file are bytes")
            return [form.part_of(record) for record in given]
        if isinstance(records, Iterator):
            raise ConfigError("rows are given as an array, not one by one: use append(row), or numpy.stack")
        try:
            rows = plain_array(records, "the file was given")
        except LossError:
            raise
        except ValueError as error:
            raise ConfigError(f"rows are expected as an array, or what NumPy makes one of: {error}") from error
        if isinstance(records, list | tuple) and not records:
            return np.empty((0, *form.item_shape), form.dtype)
        if rows.ndim == 0 or rows.shape[1:] != form.item_shape:
            wanted = ", ".join(["n", *map(str, form.item_shape)])
            hint = "; append(row) takes a single row" if rows.shape == form.item_shape else ""
            raise ConfigError(f"rows are expected as an array of shape ({wanted}), not {rows.shape}{hint}")
        return exact(rows, form.dtype)

    def _append(self, buffers: list[Any]) -> int:
        """Write the buffers one after the other and return the position of the first."""
        size = sum(map(len, buffers))
        with self._lock, self._locked() as fd, naming(self._part):
            # A short write (the disk is nearly full) leaves a gap; the next one raises the error.
            for _ in range(2):
                if os.writev(fd, buffers) == size:
                    return os.lseek(fd, 0, os.SEEK_CUR) - size
        raise OSError(errno.EIO, "pages could only be written in part, twice", self._part)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Within the block the part is not renamed; give its descriptor."""
        fd = self._descriptor()
        fcntl.flock(fd, fcntl.LOCK_SH)  # SYNC POINT: the part gets its name
        try:
            if not self._is_ours(fd):
                raise ConfigError(f"{self._part} cannot be written any more: its writer has finished")
            yield fd
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _is_ours(self, fd: int) -> bool:
        try:
            found = os.stat(self._part)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == self._file_id and os.path.samestat(found, os.fstat(fd))

    def _descriptor(self) -> int:
        if self._fd < 0:
            try:
                self._fd = os.open(self._part, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError as error:
                raise ConfigError(f"{self._part} cannot be written, its writer is gone: {error}") from error
        return self._fd

    def drop(self) -> None:
        """Close the file in this process."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _after_fork(self) -> None:
        """In a forked child: replace the lock and the descriptor, which would be shared with the parent."""
        self._lock = threading.Lock()
        self.drop()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over():
            self.drop()

    def __reduce__(self) -> tuple[Any, ...]:
        return PageWriter, (self._part, self._file_id, self.format)


def _after_fork() -> None:
    for writer in list(_in_use):
        writer._after_fork()


at_fork(after_in_child=_after_fork)
