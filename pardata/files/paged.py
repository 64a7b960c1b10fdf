"""A file of pages that any number of processes read at once, each where it wants."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import BrokenError, ChecksumError, ClosedError, ConfigError
from pardata.files.layout import CHECKSUM_BYTES, HEADER, Array, Format, Header, array_format, check, check_parts
from pardata.files.paging import PagedWriter
from pardata.files.zarr import link_as_zarr

PAGE_BYTES: Final = 1 << 20
_SETTLED_NS: Final = 50_000_000  # several ticks of the clock that file systems take their times from


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
    checksum, which is checked when a process first reads it, and again after any change of the file. A handle is small,
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

    _seen: tuple[int, bytearray]  # when the file was last changed, and which pages were verified then
    _map: mmap.mmap | bytes

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = -1
        self.path = os.path.abspath(os.fspath(path))
        self._token: bytes | None = None
        self._closed = False
        self._forget()
        self._open()

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
        compression : None, "gzip" or "zstd" (extra ``pardata[zstd]``)

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
        """Return a writer of a new file that begins with all that is in this one, and replaces it at its end.

        The pages are copied (by the system, where it can share them); who reads the file goes on with the old one.
        """
        self._ensure_open()
        return PagedWriter(self.path, self.format, self._entries(), self._fd, self._header.meta_offset)

    # -- reading ---------------------------------------------------------------------------------------------------

    def page(self, number: int) -> Any:
        """Return the rows (an array, read-only) or the records (a list) of a page.

        Raises
        ------
        IndexError
        ChecksumError
            The page is damaged or cut off.
        """
        stamp, verified = self._seen
        if 0 <= number < len(verified) and verified[number] and os.fstat(self._fd).st_ctime_ns == stamp:
            begin, end, shape = self._slots[number]
            stored = self._map[begin:end]  # a copy, in two thirds of the time of a pread
            if os.fstat(self._fd).st_ctime_ns == stamp:  # also not changed while it was copied
                return np.ndarray(shape, self._dtype, stored)
        return self._page_verified(number)

    def _page_verified(self, number: int) -> Any:
        """Return a page whose checksum is right, and note that."""
        self._ensure_open()
        if not 0 <= number < len(self._places):
            raise IndexError(f"page {number} of {len(self._places)}")
        what = f"{self.path}, page {number}"
        offset, nbytes = self._places[number]
        stamp = os.fstat(self._fd).st_ctime_ns
        stored = os.pread(self._fd, nbytes, offset)
        if len(stored) < nbytes:
            raise ChecksumError(f"{what} is cut off: {len(stored)} of {nbytes} bytes are there")
        try:
            decoded = self.format.decode(stored, self._counts[number], what)
        except ChecksumError:
            raise
        except Exception as error:
            raise ChecksumError(f"{what} cannot be decoded: {error}") from error
        if self._slots:
            self._note(number, stamp)
        return decoded

    def _note(self, number: int, stamp: int) -> None:
        """Note that a page was verified when the file was last changed at `stamp`; another thread may do so too."""
        if not len(self._map):
            # Only read where the file is known to be as long as it was: behind its end there is a SIGBUS.
            self._map = mmap.mmap(self._fd, self._header.file_bytes, prot=mmap.PROT_READ)
        known, verified = self._seen
        if known != stamp:
            verified = bytearray(len(self._places))
            self._seen = stamp, verified
        # A change within the same tick of the clock would not be seen: what is so new is verified again.
        verified[number] = time.time_ns() - stamp > _SETTLED_NS

    def pages(self) -> list[Page]:
        """Return a descriptor of each page: small, to be sent to workers, which open it."""
        self._ensure_open()
        starts = self._starts.tolist()
        return [Page(self, number, *span) for number, span in enumerate(zip(starts, starts[1:], strict=False))]

    def __len__(self) -> int:
        self._ensure_open()
        return self._records

    def __getitem__(self, index: Any) -> Any:
        """Return a record; for a slice an array of rows or a list of records."""
        if isinstance(index, slice):
            begin, end, step = index.indices(len(self))
            if step > 0:
                return self._span(begin, max(begin, end))[::step]
            chosen = range(begin, end, step)
            return self._span(chosen[-1], chosen[0] + 1)[::step] if chosen else self._span(0, 0)
        number = index.__index__()
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        page = self._page_of(number)
        return self.page(page)[number - int(self._starts[page])]

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
        self._ensure_open()
        if not self.is_array or out.dtype != self.dtype or out.shape[1:] != self.format.item_shape:
            raise ConfigError(f"out of shape {out.shape} and {out.dtype} does not take records of {self!r}")
        if not out.flags.c_contiguous or not out.flags.writeable:
            raise ConfigError("out must be writable and C-contiguous")
        end = begin + len(out)
        if begin < 0 or end > len(self):
            raise ConfigError(f"rows {begin} to {end} of {len(self)} were asked for")
        raw = out.reshape(-1).view(np.uint8).data if out.size else memoryview(b"")
        row, size = begin, self.format.item_bytes
        while row < end:
            number = row // self.page_rows
            first = number * self.page_rows
            last = min(end, first + self.page_rows)
            if row == first and last - first == self.page_rows and self.format.compression is None:
                self._read_page_into(number, raw[(row - begin) * size : (last - begin) * size])
            else:
                out[row - begin : last - begin] = self.page(number)[row - first : last - first]
            row = last

    def _read_page_into(self, number: int, target: memoryview) -> None:
        """Read a whole page without a copy."""
        offset, nbytes = self._places[number]
        tail = bytearray(CHECKSUM_BYTES)
        if os.preadv(self._fd, [target, tail], offset) < nbytes:
            raise ChecksumError(f"{self.path}, page {number} is cut off")
        check_parts(target, tail, f"{self.path}, page {number}")

    def _span(self, begin: int, end: int) -> Any:
        if self.is_array:
            out = np.empty((end - begin, *self.format.item_shape), self.dtype)
            self.read_into(out, begin)
            return out
        records: list[Any] = []
        while begin < end:
            page = self._page_of(begin)
            first = int(self._starts[page])
            records += self.page(page)[begin - first : end - first]
            begin = int(self._starts[page + 1])
        return records

    def _page_of(self, record: int) -> int:
        return int(np.searchsorted(self._starts, record, side="right")) - 1

    def link_as_zarr(self, directory: str | os.PathLike[str]) -> None:
        """Make a directory that any Zarr v3 reader opens as an array; the pages are linked, not copied.

        It stays as it is when this file is replaced.

        Raises
        ------
        ConfigError
            The file holds no array of numbers, or the directory exists.
        """
        self._ensure_open()
        link_as_zarr(self.path, self.format, self._records, len(self._places), os.fspath(directory))

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def page_count(self) -> int:
        """How many pages there are."""
        self._ensure_open()
        return len(self._places)

    @property
    def is_array(self) -> bool:
        """Whether the records are rows of an array."""
        self._ensure_open()
        return self.format.kind == "array"

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
        return self.format

    def _entries(self) -> list[tuple[int, int, int]]:
        return [(count, *place) for count, place in zip(self._counts, self._places, strict=True)]

    # -- the open file ---------------------------------------------------------------------------------------------

    def _ensure_open(self) -> None:
        if self._fd < 0:
            if self._closed:
                raise ClosedError(f"{self.path} was closed")
            self._open()

    def _open(self) -> None:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be opened: {error}") from error
        try:
            self._load(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def _load(self, fd: int) -> None:
        try:
            header = Header.unpack(os.pread(fd, HEADER.size, 0), self.path)
        except IsADirectoryError as error:
            raise ConfigError(f"{self.path} cannot be read: {error}") from error
        size = os.fstat(fd).st_size
        if size < header.file_bytes:
            raise ChecksumError(f"{self.path} is cut off: {size} of {header.file_bytes} bytes are there")
        if self._token is not None and self._token != header.token:
            raise BrokenError(f"{self.path} was replaced since this handle was made: open it again")
        meta = os.pread(fd, header.meta_bytes, header.meta_offset)
        index = os.pread(fd, header.index_bytes, header.file_bytes - header.index_bytes)
        self.format, self._records, self._starts = Format.unpack(meta, header.page_count, self.path)
        self._dtype = self.format.dtype if self.format.kind == "array" else np.dtype(object)
        pairs = np.frombuffer(check(index, f"{self.path}, index"), "<u8").reshape(-1, 2)
        self._places: list[tuple[int, int]] = list(map(tuple, pairs.tolist()))
        self._counts: list[int] = np.diff(self._starts).tolist()
        self._slots = self._plain_slots()
        self._header, self._token = header, header.token

    def _plain_slots(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Return where the rows of each page begin and end, and their shape; none if pages need decoding."""
        if self.format.kind != "array" or self.format.compression is not None:
            return []
        size = self.format.item_bytes
        shapes = {count: (count, *self.format.item_shape) for count in set(self._counts)}
        counted = zip(self._places, self._counts, strict=True)
        return [(offset, offset + count * size, shapes[count]) for (offset, _), count in counted]

    def _forget(self) -> None:
        """Begin without a file."""
        self._seen = (0, bytearray())
        self._map = b""

    def close(self) -> None:
        """Close the file; arrays that were read stay."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        fd, self._fd = self._fd, -1
        self._forget()
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> PagedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._drop()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path, self._token)

    def __repr__(self) -> str:
        if self._fd < 0:
            return f"<PagedFile {self.path}>"
        what = f"rows of {self.format.item_shape} {self.format.dtype}" if self.is_array else self.format.kind
        return f"<PagedFile {self.path}: {self._records} {what} in {len(self._places)} pages>"


def _opened(path: str, token: bytes) -> PagedFile:
    """Return a handle that opens the file at its first use, and refuses one that has replaced it."""
    made = object.__new__(PagedFile)
    made._fd, made.path, made._token, made._closed = -1, path, token, False
    made._forget()
    return made
