"""Write a paged file: in one process, or each page where it is made.

      writer (holds the lock)         x.part:  header | page | page | ...          | meta | index
      worker: write_page(i, rows) --- appends ----------------^   and returns where

Pages are written by appending, which the kernel does for one process after the other: so each knows its place, and
nobody reserves anything. What a killed worker has appended stays as a gap; the task that is done again appends again.
The index is written last, then the part gets its name.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pardata.errors import ClosedError, ConfigError
from pardata.files.layout import HEADER, Format, Header, new_token, pack_index, padded_size
from pardata.files.replacing import HolderLock, put_in_place

Entry = tuple[int, int, int]  # records, offset, nbytes


class PageEntry(NamedTuple):
    """Where a page has been written; to be given to the writer's `add`."""

    number: int
    records: int
    offset: int
    nbytes: int


class PageWriter:
    """Writes single pages, in any process: what of a `PagedWriter` is sent to workers."""

    def __init__(self, part: str, file_id: tuple[int, int], form: Format) -> None:
        self.format = form
        self._part = part
        self._file_id = file_id
        self._fd = -1
        self._pid = 0
        self._lock = threading.Lock()

    def write_page(self, number: int, records: Any) -> PageEntry:
        """Write a page and return where.

        Parameters
        ----------
        number : int
            Of the page, from 0.
        records : array, shape (n, *item_shape), or sequence of bytes or objects
            Rows are as many as a page has; only the last page may have fewer.

        Raises
        ------
        ConfigError
            They do not fit the file, or its writer is gone.
        OSError
            The disk is full.
        """
        return self.write(number, self.checked(records))

    def write(self, number: int, given: Any) -> PageEntry:
        """Write a page of what `checked` has returned."""
        if self.format.kind == "array" and not 0 < len(given) <= self.format.page_records:
            raise ConfigError(f"page {number} is to have 1 to {self.format.page_records} rows, not {len(given)}")
        stored = self.format.encode(given)
        return PageEntry(number, len(given), self._append(stored), len(stored))

    def checked(self, records: Any) -> Any:
        """Return the records as they are stored; raise `ConfigError` if they do not fit."""
        form = self.format
        if form.kind != "array":
            given = list(records)
            if form.kind == "bytes" and not all(isinstance(record, bytes | bytearray | memoryview) for record in given):
                raise ConfigError("the records of this file are bytes")
            return [form.part_of(record) for record in given]
        rows = np.asarray(records)
        if rows.shape[1:] != form.item_shape or rows.ndim == 0:
            raise ConfigError(f"rows of shape {form.item_shape} are expected, not an array of shape {rows.shape}")
        if not np.can_cast(rows.dtype, form.dtype, "same_kind"):
            raise ConfigError(f"rows of {rows.dtype} do not fit a file of {form.dtype}")
        return np.ascontiguousarray(rows, form.dtype)

    def _append(self, stored: bytes) -> int:
        data = stored.ljust(padded_size(len(stored)), b"\0")
        with self._lock:
            fd = self._descriptor()
            # A short write (the disk is nearly full) leaves a gap; the next one then raises.
            while os.write(fd, data) != len(data):
                pass
            return os.lseek(fd, 0, os.SEEK_CUR) - len(data)

    def _descriptor(self) -> int:
        if self._fd < 0 or self._pid != os.getpid():  # a position that is shared with the parent tells nothing
            try:
                fd = os.open(self._part, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            except OSError as error:
                raise ConfigError(f"{self._part} cannot be written, its writer is gone: {error}") from error
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self._file_id:
                os.close(fd)
                raise ConfigError(f"{self._part} belongs to another writer by now")
            self._fd, self._pid = fd, os.getpid()
        return self._fd

    def drop(self) -> None:
        """Close the file in this process."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.drop()

    def __reduce__(self) -> tuple[Any, ...]:
        return PageWriter, (self._part, self._file_id, self.format)


class PagedWriter:
    """Writes a `PagedFile`; made by `PagedFile.create` or `PagedFile.append`.

    At the end of the ``with`` block the file gets its name, with all of its contents on the disk; if the block raises,
    or the process is killed, the old file stays, or none. One writer at a time: the second one is refused.

    Notes
    -----
    Either `extend` it with records, or have workers call ``writer.pages.write_page(number, rows)`` and `add` what that
    returns.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: Format,
        entries: Sequence[Entry] = (),
        source_fd: int = -1,
        source_end: int = HEADER.size,
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self.format = form
        self._part = f"{self.path}.part"
        self._entries = {number: PageEntry(number, *entry) for number, entry in enumerate(entries)}
        self._waiting: list[Any] = []
        self._waiting_size = 0
        self._lock: HolderLock | None = HolderLock(self.path)
        try:
            self._begin(source_fd, source_end)
        except BaseException:
            self.abort()
            raise

    def _begin(self, source_fd: int, source_end: int) -> None:
        """Make the part: room for the header, then the pages of the file that is appended to."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)
        fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.write(fd, bytes(HEADER.size))
            position = HEADER.size
            while position < source_end:
                copied = _copy(source_fd, fd, source_end - position, position)
                if not copied:
                    raise ConfigError(f"{self.path} was cut off while it was read")
                position += copied
            found = os.fstat(fd)
        finally:
            os.close(fd)
        self.pages = PageWriter(self._part, (found.st_dev, found.st_ino), self.format)
        last = len(self._entries) - 1
        if self.format.kind == "array" and last >= 0 and self._entries[last].records < self.format.page_records:
            entry = self._entries.pop(last)  # it is filled up
            stored = os.pread(source_fd, entry.nbytes, entry.offset)
            self.extend(self.format.decode(stored, entry.records, f"{self.path}, page {last}"))

    # -- records one after the other -------------------------------------------------------------------------------

    def extend(self, records: Any) -> None:
        """Write records behind those that are there.

        Parameters
        ----------
        records : array, shape (n, *item_shape), or iterable of bytes or objects

        Raises
        ------
        ConfigError
            They do not fit the file.
        OSError
            The disk is full.
        """
        self._ensure_open()
        if self.format.kind == "array":
            self._extend_rows(self.pages.checked(records))
            return
        for record in records:
            self._waiting += self.pages.checked([record])
            self._waiting_size += len(self._waiting[-1])
            if self._waiting_size >= self.format.page_bytes:
                self._flush()

    def append(self, record: Any) -> None:
        """Write one record; else as `extend`."""
        self.extend(np.asarray(record)[np.newaxis] if self.format.kind == "array" else [record])

    def _extend_rows(self, rows: Any) -> None:
        size, begin = self.format.page_records, 0
        while begin < len(rows):
            part = rows[begin : begin + size - self._waiting_size]
            begin += len(part)
            self._waiting_size += len(part)
            if len(part) == size:
                self.add(self.pages.write(len(self._entries), part))
                self._waiting_size = 0
                continue
            self._waiting.append(part.copy())  # the caller may use its array again
            if self._waiting_size == size:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            records = np.concatenate(self._waiting) if self.format.kind == "array" else self._waiting
            self.add(self.pages.write(len(self._entries), records))
            self._waiting, self._waiting_size = [], 0

    # -- pages from anywhere ---------------------------------------------------------------------------------------

    def add(self, entry: PageEntry) -> None:
        """Take in that a page has been written; of two with one number the later counts."""
        self._ensure_open()
        self._entries[entry.number] = entry

    def close(self) -> None:
        """Write what waits, the meta data and the index, and give the file its name.

        Raises
        ------
        ConfigError
            A page is missing, or one that is not the last is not full; the old file stays.
        OSError
            The disk is full; the old file stays.
        """
        if self._lock is None:
            return
        try:
            self._flush()
            self._finish([self._entries[number] for number in self._numbers()])
            self._lock.release()
            self._lock = None
        finally:
            self.abort()

    def _numbers(self) -> range:
        numbers = range(len(self._entries))
        missing = [number for number in numbers if number not in self._entries]
        if missing:
            raise ConfigError(f"page {missing[0]} of {self.path} is missing; there are {len(numbers)}")
        full = self.format.page_records
        if self.format.kind == "array":
            short = [number for number in numbers[:-1] if self._entries[number].records != full]
            if short:
                raise ConfigError(f"page {short[0]} of {self.path} has not {full} rows and is not the last")
        return numbers

    def _finish(self, entries: list[PageEntry]) -> None:
        starts = np.cumsum([0, *(entry.records for entry in entries)])
        meta = self.format.pack(int(starts[-1]), starts)
        index = pack_index([(entry.offset, entry.nbytes) for entry in entries])
        fd = os.open(self._part, os.O_WRONLY | os.O_CLOEXEC)
        try:
            offset = padded_size(os.fstat(fd).st_size)
            header = Header(offset, len(meta), len(entries), offset + len(meta) + len(index), new_token())
            _write_all(fd, meta + index, offset)
            _write_all(fd, header.pack(), 0)
        finally:
            os.close(fd)
        put_in_place(self._part, self.path)

    def abort(self) -> None:
        """Throw away what was written; the old file stays."""
        if hasattr(self, "pages"):
            self.pages.drop()
        lock, self._lock = self._lock, None
        if lock is not None and lock.is_mine:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part)
            lock.release()

    def _ensure_open(self) -> None:
        if self._lock is None:
            raise ClosedError(f"the writer of {self.path} was closed")

    def __enter__(self) -> PagedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.abort()

    def __repr__(self) -> str:
        return f"<PagedWriter of {self.path}: {len(self._entries)} pages>"


def _copy(source_fd: int, fd: int, nbytes: int, offset: int) -> int:
    """Copy bytes to the same place of another file; return how many."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source_fd, fd, nbytes, offset, offset)
        except OSError:
            pass  # not between these file systems
    return os.pwrite(fd, os.pread(source_fd, min(nbytes, 1 << 24), offset), offset)


def _write_all(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
