"""Write a paged file: in one process, or each page in the worker that makes it.

      writer (holds the lock)         x.part:  header | page | page | ...          | meta | index
      worker: write_page(i, rows) --- appends ----------------^   and returns its place

The index is written last, then the part is renamed to the file's name.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from pardata.errors import BrokenError, ClosedError, ConfigError
from pardata.files.layout import HEADER, Format, Header, new_token, pack_index, padded_size
from pardata.files.open_file import OpenFile
from pardata.files.page_writer import PageEntry, PageWriter, check_sequence
from pardata.files.replacing import put_in_place
from pardata.memory.disk import create_new, naming, write_all
from pardata.memory.locking import HolderLock
from pardata.memory.plain import plain_array
from pardata.process.system import check_posix, module

fcntl: Any = module("fcntl")

_open: weakref.WeakSet[PagedWriter] = weakref.WeakSet()


class PagedWriter:
    """Writes a `PagedFile`; made by `PagedFile.create` or `PagedFile.append`.

    At the end of the ``with`` block all contents are on the disk, and the file gets its name. If the block raises, or
    the process is killed, an existing file stays as it was. A file has one writer at a time: a second one is refused.

    Either `extend` the writer with records, or let workers call ``writer.pages.write_page(number, rows)`` and `add` the
    entries that it returns.

    Attributes
    ----------
    pages : PageWriter
        Writes single pages; to be sent to workers.

    Examples
    --------
    >>> with pardata.PagedFile.create("rows", item_shape=(4,), page_bytes=320) as writer, pardata.WorkerPool(2) as pool:
    ...     write = writer.pages.write_page
    ...     for entry in pool.map(lambda number: write(number, np.full((10, 4), number)), range(5)):
    ...         writer.add(entry)
    """

    def __init__(self, path: str | os.PathLike[str], form: Format, *, appends: bool = False) -> None:
        check_posix("a paged file")
        self.path = os.path.realpath(os.fspath(path))  # the file behind a link is replaced, not the link
        self.format = form
        self._part = f"{self.path}.part"
        self._entries: dict[int, PageEntry] = {}
        self._waiting: list[Any] = []
        self._waiting_size = 0
        self._lock: HolderLock | None = HolderLock(self.path)
        try:
            # Opened only now, since no other writer can replace it any more; the caller may have seen an older file.
            self._begin(OpenFile(self.path) if appends else None)
        except BaseException:
            self.abort()
            raise
        _open.add(self)

    @property
    def _why_not(self) -> str:
        """The reason why a run with a checkpoint cannot write to it."""
        return "what a paged file has is lost with its process until it is closed: write to .npy or .zarr"

    def _begin(self, source: OpenFile | None) -> None:
        """Create the part: room for the header, then the pages of the file that is appended to."""
        if source is not None and source.format != self.format:
            raise BrokenError(f"{self.path} was replaced by a file of other records: open it again")
        fd = create_new(self._part)
        try:
            write_all(fd, bytes(HEADER.size), 0, self._part)
            if source is not None:
                with naming(self._part):
                    self._copy_pages(source, fd)
            found = os.fstat(fd)
        finally:
            os.close(fd)
        self.pages = PageWriter(self._part, (found.st_dev, found.st_ino), self.format)
        last = len(self._entries) - 1
        if source is not None and last >= 0 and 0 < self._entries[last].records < self.format.page_records:
            del self._entries[last]  # its rows are written again, with others behind them
            self.extend(source.page(last))

    def _copy_pages(self, source: OpenFile, fd: int) -> None:
        position = HEADER.size
        end = source.header.meta_offset
        while position < end:
            copied = _copy(source.fd, fd, end - position, position)
            if not copied:
                raise ConfigError(f"{self.path} was cut off while it was read")
            position += copied
        self._entries = {number: PageEntry(number, *entry) for number, entry in enumerate(source.entries())}

    # -- records one after the other -------------------------------------------------------------------------------

    def extend(self, records: Any) -> None:
        """Write records behind the present ones.

        Parameters
        ----------
        records : array, shape (n, *item_shape), or iterable of bytes or objects

        Raises
        ------
        ConfigError
            The records do not fit the file.
        OSError
            The disk is full.
        ClosedError
            The writer was closed, or belongs to another process.
        """
        self._ensure_open()
        if self.format.kind == "array":
            self._extend_rows(self.pages.checked(records))
            return
        check_sequence(records, self.format.kind)
        for record in records:
            self._waiting += self.pages.checked([record])
            self._waiting_size += len(self._waiting[-1])
            if self._waiting_size >= self.format.page_bytes:
                self._flush()

    def append(self, record: Any) -> None:
        """Write one record: a row of shape `item_shape`, bytes or an object. Raises as `extend`."""
        self.extend(plain_array(record, "the file was given")[np.newaxis] if self.format.kind == "array" else [record])

    def _extend_rows(self, rows: Any) -> None:
        size = self.format.page_records
        if self._waiting:  # rows of a page that is not full yet
            taken = size - self._waiting_size
            self._wait(rows[:taken])
            rows = rows[taken:]
        whole = len(rows) - len(rows) % size
        self._add_all(self.pages.write_rows(len(self._entries), rows[:whole]))
        self._wait(rows[whole:])

    def _wait(self, rows: Any) -> None:
        if len(rows):
            self._waiting.append(rows.copy())  # the caller may change its array
            self._waiting_size += len(rows)
            if self._waiting_size == self.format.page_records:
                self._flush()

    def _flush(self) -> None:
        if self._waiting:
            records: Any = self._waiting
            if self.format.kind == "array":  # with dtype=, since NumPy would remove gaps between the fields of a record
                records = np.concatenate(records, dtype=self.format.dtype)
            self._add_all(self.pages.write(len(self._entries), [records]))
            self._waiting, self._waiting_size = [], 0

    def _add_all(self, entries: list[PageEntry]) -> None:
        self._entries |= {entry.number: entry for entry in entries}

    # -- pages from anywhere ---------------------------------------------------------------------------------------

    def add(self, entry: PageEntry) -> None:
        """Make a page that was written by `write_page` part of the file; it replaces an earlier one of the same number.

        Raises
        ------
        ConfigError
            `entry` was not returned by `write_page`.
        ClosedError
            The writer was closed, or belongs to another process.
        """
        self._ensure_open()
        if not isinstance(entry, PageEntry):
            raise ConfigError(f"add() takes an entry that write_page has returned, not {entry!r}")
        self._entries[entry.number] = entry

    def close(self) -> None:
        """Write the waiting records, the meta data and the index, and give the file its name.

        Raises
        ------
        ConfigError
            A page is missing, or one that is not the last is not full; the old file stays.
        OSError
            The disk is full; the old file stays.
        """
        if self._lock is None or not self._lock.is_mine:  # closed, or a forked child at the end of its parent's block
            self.abort()
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
        fd = os.open(self._part, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # SYNC POINT: the part gets its name
            offset = padded_size(os.fstat(fd).st_size)
            header = Header(offset, len(meta), len(entries), offset + len(meta) + len(index), new_token())
            write_all(fd, meta + index, offset, self._part)
            write_all(fd, header.pack(), 0, self._part)
            put_in_place(self._part, self.path)
        finally:
            os.close(fd)

    def abort(self) -> None:
        """Remove the unfinished file; an existing file stays as it was."""
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
        if not self._lock.is_mine:
            raise ClosedError(f"the writer of {self.path} belongs to the process that made it; others use its `pages`")

    def __enter__(self) -> PagedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over() and hasattr(self, "_lock"):
            self.abort()

    def __repr__(self) -> str:
        return f"<PagedWriter of {self.path}: {len(self._entries)} pages>"


@atexit.register
def _abort_all() -> None:
    """At the end of the interpreter, remove the parts of unfinished files."""
    for writer in list(_open):
        writer.abort()


def _copy(source_fd: int, fd: int, nbytes: int, offset: int) -> int:
    """Copy bytes to the same position of another file; return their number."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source_fd, fd, nbytes, offset, offset)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            # else: these file systems do not support it
    return os.pwrite(fd, os.pread(source_fd, min(nbytes, 1 << 24), offset), offset)
