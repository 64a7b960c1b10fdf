"""A file of pages that any number of processes read at once, each where it wants."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterator, Sequence
from os import SEEK_END, fstat, lseek
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import ClosedError, ConfigError
from pardata.files.layout import Array, Format, array_format
from pardata.files.open_file import OpenFile
from pardata.files.paged_writer import PagedWriter
from pardata.files.spans import checked_target, page_of, read_rows, read_span, read_strided
from pardata.files.zarr import link_as_zarr

PAGE_BYTES: Final = 1 << 20


class Page(NamedTuple):
    """A page of a file: a descriptor, not its data."""

    file: PagedFile
    number: int
    begin: int
    end: int

    def open(self) -> Any:
        """Return the rows (an array, read-only) or the records (a list) of the page."""
        return self.file.page(self.number)


class PagedFile(Sequence[Any]):
    """A sequence of rows of an array, of bytes or of objects, in a file of pages.

    Reading is by position and shares nothing: any number of threads and processes read at once. Every page has a
    checksum, which is checked when a handle first reads it, and again after any change of the file. A handle is small,
    pickles as its path, and opens the file at its first use in a process.

    Parameters
    ----------
    path : path of an existing file
        `create` makes one.

    Raises
    ------
    ConfigError
        There is no such file, or it is no paged file.
    ChecksumError
        It is damaged or cut off.

    Notes
    -----
    Objects are unpickled: open files of objects only if you trust who wrote them. As input of `WorkerPool.map_array`
    its rows are read by the workers, in whole pages; as a source of a stream it gives its records.

    Source: the index is that of a Zarr v3 shard (https://zarr-specs.readthedocs.io, sharding codec)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = OpenFile(os.path.abspath(os.fspath(path)))
        self._set_up(file.path, file.header.token, file)

    def _set_up(self, path: str, token: bytes, file: OpenFile | None) -> None:
        self.path = path
        self._token = token
        self._open = file
        self._opening = threading.Lock()
        self._closed = False

    @staticmethod
    def create(
        path: str | os.PathLike[str],
        *,
        kind: str = "array",
        dtype: Any = float,
        item_shape: Sequence[int] = (),
        page_bytes: int = PAGE_BYTES,
        compression: str | None = None,
    ) -> PagedWriter:
        """Return a writer of a new file; a file of that name is replaced at its end.

        Parameters
        ----------
        path : path
        kind : "array", "bytes" or "objects"
        dtype, item_shape
            Of a row, for arrays.
        page_bytes : int
            Bytes of a page, before compression; about what a worker should read at once.
        compression : None, "gzip" or "zstd" (before Python 3.14: extra ``pardata[zstd]``)

        Raises
        ------
        ConfigError
            A wrong argument, or another process writes the same file.
        """
        if not isinstance(page_bytes, int) or not 1 <= page_bytes <= 1 << 30:
            raise ConfigError(f"page_bytes must be an int from 1 to 2**30, not {page_bytes!r}")
        if kind == "array":
            return PagedWriter(path, array_format(dtype, item_shape, page_bytes, compression))
        return PagedWriter(path, Format(kind, page_bytes=page_bytes, compression=compression))

    def append(self) -> PagedWriter:
        """Return a writer of a new file that begins with all that is in the present one, and replaces it at its end.

        The pages are copied (by the system, where it can share them); who reads the file goes on with the old one.
        What others have appended since this handle was made stays in front of what is appended now.

        Raises
        ------
        ConfigError
            Another process writes the same file.
        BrokenError
            It was replaced by a file of other records.
        """
        return PagedWriter(self.path, self._file().format, appends=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def page(self, number: int) -> Any:
        """Return the rows (an array, read-only) or the records (a list) of a page.

        Raises
        ------
        IndexError
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
            # Looked at after the reading: what was verified has not been changed until now.
            if fstat(file.fd).st_ctime_ns == stamp:
                return np.ndarray(shape, file.dtype, stored)
        return file.page(number)

    def pages(self) -> list[Page]:
        """Return a descriptor of each page: small, to be sent to workers, which open it."""
        starts = self._file().starts.tolist()
        return [Page(self, number, *span) for number, span in enumerate(zip(starts, starts[1:], strict=False))]

    def __len__(self) -> int:
        return self._file().records

    def __getitem__(self, index: Any) -> Any:
        """Return a record; for a slice an array of rows or a list of records."""
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
        """Read rows ``begin, begin + 1, ...`` into `out`.

        Parameters
        ----------
        out : array, shape (n, *item_shape), of the file's dtype, C-contiguous

        Raises
        ------
        ConfigError
            `out` does not fit, or there are not so many rows.
        ChecksumError
            A page is damaged or cut off; `out` may be partly written.
        """
        file = self._file()
        read_rows(file, self.page, checked_target(file, out, begin, self), begin)

    def link_as_zarr(self, directory: str | os.PathLike[str]) -> None:
        """Make a directory that any Zarr v3 reader opens as an array; the pages are linked, not copied.

        It stays as it is when this file is replaced.

        Raises
        ------
        ConfigError
            The file holds no array of numbers, or the directory exists.
        BrokenError
            The file was replaced since this handle was opened.
        """
        link_as_zarr(self._file(), os.fspath(directory))

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def page_count(self) -> int:
        """How many pages there are."""
        return self._file().header.page_count

    @property
    def is_array(self) -> bool:
        """Whether the records are rows of an array."""
        return self._file().format.kind == "array"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the rows."""
        return self._array_format().dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all rows together."""
        return (len(self), *self._array_format().item_shape)

    @property
    def page_rows(self) -> int:
        """Rows per page."""
        return self._array_format().page_records

    def _array_format(self) -> Format:
        if not self.is_array:
            raise AttributeError(f"{self!r} holds no array")
        return self._file().format

    # -- the open file ---------------------------------------------------------------------------------------------

    def _file(self) -> OpenFile:
        """Return the open file; a handle that came from another process opens it at its first use."""
        opened = self._open
        if opened is not None:
            return opened
        with self._opening:
            if self._closed:
                raise ClosedError(f"{self.path} was closed")
            if self._open is None:
                self._open = OpenFile(self.path, self._token)
            return self._open

    def close(self) -> None:
        """Close the file; arrays that were read stay."""
        self._closed = True
        self._open = None

    def __enter__(self) -> PagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
    """Return a handle that opens the file at its first use, and refuses one that has replaced it."""
    made = object.__new__(PagedFile)
    made._set_up(path, token, None)
    return made
