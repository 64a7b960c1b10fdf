"""A file of pages, for random access by any number of processes at once."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from os import SEEK_END, fstat, lseek
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.files.handle import FileHandle
from pardata.files.layout import Array, Format, array_format
from pardata.files.open_file import OpenFile
from pardata.files.paged_writer import PagedWriter
from pardata.files.spans import checked_target, page_of, read_rows, read_span, read_strided
from pardata.files.zarr import link_as_zarr
from pardata.memory.sizes import count_bytes

DEFAULT_PAGE_BYTES: Final = 1 << 20


class Page(NamedTuple):
    """A page of a file: a small descriptor without the data; records ``begin <= i < end`` are on it."""

    file: PagedFile
    number: int
    begin: int
    end: int

    def open(self) -> Any:
        """Return the rows (an array, read-only) or the records (a list) of the page; raises as `PagedFile.page`."""
        return self.file.page(self.number)


class PagedFile(FileHandle, Sequence[Any]):
    """A sequence of rows of an array, of bytes or of objects, in a file of pages.

    Any number of threads and processes read at once; they share no position. Every page has a checksum, which a handle
    verifies at its first read, and again after any change of the file. A handle is small, is pickled as its path, and
    opens the file at its first use in a process.

    Parameters
    ----------
    path : path of an existing file
        `create` makes one.

    Raises
    ------
    ConfigError
        There is no such file, or it is no paged file.
    ChecksumError
        The file is damaged or cut off.

    Notes
    -----
    Objects are unpickled: open a file of objects only if you trust its writer. As input of `WorkerPool.map_array` the
    file is read by the workers, in whole pages; as a source of a stream it yields its records.

    Source: the index is that of a Zarr v3 shard (https://zarr-specs.readthedocs.io, sharding codec)

    Examples
    --------
    >>> with pardata.PagedFile.create("film", dtype=np.uint8, item_shape=(480, 640)) as writer:
    ...     writer.extend(np.zeros((20, 480, 640), np.uint8))
    >>> pardata.PagedFile("film")[5:7].shape
    (2, 480, 640)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = OpenFile(os.path.abspath(os.fspath(path)))
        self._set_up(file.path, file.header.token, file)

    @staticmethod
    def create(
        path: str | os.PathLike[str],
        *,
        kind: str = "array",
        dtype: Any = float,
        item_shape: Sequence[int] = (),
        page_bytes: float | str = DEFAULT_PAGE_BYTES,
        compression: str | None = None,
    ) -> PagedWriter:
        """Return a writer of a new file, which replaces an existing one when the writer is closed.

        Parameters
        ----------
        path : path
        kind : "array", "bytes" or "objects"
        dtype : dtype without objects
            For arrays: dtype of a row's entries.
        item_shape : sequence of int
            For arrays: shape of a row.
        page_bytes : int, bytes, or a size such as "4MB"
            Size of a page before compression, from 1 to 2**30; about as much as a worker should read at once.
        compression : None, "gzip" or "zstd" (before Python 3.14: extra ``pardata[zstd]``)

        Raises
        ------
        ConfigError
            An argument is wrong, or another process writes the same file.

        Examples
        --------
        >>> with pardata.PagedFile.create("texts", kind="bytes", compression="gzip") as writer:
        ...     writer.extend([b"one text", b"another"])
        """
        page_bytes = count_bytes("page_bytes", page_bytes, 1 << 30)
        if kind == "array":
            return PagedWriter(path, array_format(dtype, item_shape, page_bytes, compression))
        return PagedWriter(path, Format(kind, page_bytes=page_bytes, compression=compression))

    def append(self) -> PagedWriter:
        """Return a writer of a new file that begins with the records of this one, and replaces it when it is closed.

        The pages are copied; some file systems share them instead. Open handles go on reading the old file. Records
        that were appended since this handle was made are kept.

        Raises
        ------
        ConfigError
            Another process writes the same file.
        BrokenError
            The file was replaced by one of other records.

        Examples
        --------
        >>> with pardata.PagedFile.create("texts", kind="bytes") as writer:
        ...     writer.append(b"one text")
        >>> with pardata.PagedFile("texts").append() as writer:
        ...     writer.append(b"another")
        """
        return PagedWriter(self.path, self._file().format, appends=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def page(self, number: int) -> Any:
        """Return the rows (an array, read-only) or the records (a list) of a page.

        Parameters
        ----------
        number : int
            From 0 to ``page_count - 1``.

        Raises
        ------
        IndexError
            There is no such page.
        ChecksumError
            The page is damaged or cut off.
        SerializationError
            A record cannot be unpickled in this process.
        """
        file = self._open
        if file is None:
            file = self._file()
        # A page that was verified is read here: one more call costs a tenth beside a copy of 64 KiB.
        stamp, verified = file.seen
        if 0 <= number < len(verified) and verified[number] and lseek(file.fd, 0, SEEK_END) >= file.nbytes:
            nbytes, shape = file.whole if number != file.last else file.rest
            offset = file.offsets[number]
            stored = file.map[offset : offset + nbytes]  # a copy, in two thirds of the time of a pread
            # Asked after the copy: if the time is the same, the file was not changed before the copy was complete.
            if fstat(file.fd).st_ctime_ns == stamp:
                return np.ndarray(shape, file.dtype, stored)
        return file.page(number)

    def pages(self) -> list[Page]:
        """Return a small descriptor of each page, to be sent to workers, which open it.

        Returns
        -------
        list of Page

        Examples
        --------
        >>> with pardata.PagedFile.create("rows", item_shape=(4,), page_bytes=320) as writer:
        ...     writer.extend(np.ones((25, 4)))
        >>> with pardata.WorkerPool(2) as pool:
        ...     list(pool.map(lambda page: page.open().shape, pardata.PagedFile("rows").pages()))
        [(10, 4), (10, 4), (5, 4)]
        """
        starts = self._file().starts.tolist()
        return [Page(self, number, *span) for number, span in enumerate(zip(starts, starts[1:], strict=False))]

    def __len__(self) -> int:
        return self._file().records

    def __getitem__(self, index: Any) -> Any:
        """Return a record; for a slice an array of rows or a list of records. Reads the pages that have them.

        Raises
        ------
        IndexError, TypeError
            There is no such record; `index` is neither an int nor a slice.
        ChecksumError
            A page is damaged.
        """
        if isinstance(index, slice):
            file = self._file()
            chosen = range(*index.indices(file.records))
            return read_span(file, self.page, chosen) if chosen.step == 1 else read_strided(file, self.page, chosen)
        try:
            number = operator.index(index)
        except TypeError:
            raise TypeError(f"records are asked for by an int or a slice, not by {index!r}") from None
        file = self._file()
        number += file.records if number < 0 else 0
        if not 0 <= number < file.records:
            raise IndexError(f"record {index} of {file.records}")
        page = page_of(file.starts, number)
        return self.page(page)[number - int(file.starts[page])]

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.page_count):
            yield from self.page(number)

    def read_into(self, out: Array, begin: int = 0) -> None:
        """Read the rows from `begin` on into `out`, whole pages without a copy in between.

        Parameters
        ----------
        out : array, shape (n, *item_shape), of the file's dtype, C-contiguous
        begin : int
            Number of the first row.

        Raises
        ------
        ConfigError
            `out` does not fit, or the file has no rows up to ``begin + n``.
        ChecksumError
            A page is damaged or cut off; `out` may be partly written.

        Examples
        --------
        >>> with pardata.PagedFile.create("numbers") as writer:
        ...     writer.extend(np.arange(10.0))
        >>> out = np.empty(3)
        >>> pardata.PagedFile("numbers").read_into(out, 4)
        """
        file = self._file()
        read_rows(file, self.page, checked_target(file, out, begin, self), begin)

    def link_as_zarr(self, directory: str | os.PathLike[str]) -> None:
        """Make a directory that any Zarr v3 reader opens as an array; the file is linked, not copied.

        The array keeps its contents when this file is replaced.

        Parameters
        ----------
        directory : path of a new directory

        Raises
        ------
        ConfigError
            The file holds no array of numbers, or the directory exists.
        BrokenError
            The file was replaced since this handle was opened.
        """
        link_as_zarr(self._file(), os.fspath(directory))

    def __enter__(self) -> PagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _compared(self) -> Any:
        """Return what a checkpoint compares it by."""
        return self.path, self._token

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_pickle, (self.path, self._token)

    def __repr__(self) -> str:
        file = self._open
        if file is None:
            return f"<PagedFile {self.path}, {'closed' if self._closed else 'not opened yet'}>"
        form = file.format
        what = f"rows of {form.item_shape} {form.dtype}" if form.kind == "array" else form.kind
        return f"<PagedFile {self.path}: {file.records} {what} in {file.header.page_count} pages>"


def _from_pickle(path: str, token: bytes) -> PagedFile:
    """Return a handle that opens the file at its first use; it refuses a file that has replaced this one."""
    made = object.__new__(PagedFile)
    made._set_up(path, token, None)
    return made
