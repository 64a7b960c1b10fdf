"""A paged file that is open in this process: the places of its pages, and their verified contents."""

from __future__ import annotations

import array
import mmap
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pardata.errors import BrokenError, ChecksumError, ConfigError
from pardata.files.checksums import crc32c
from pardata.files.layout import CHECKSUM_BYTES, HEADER, Format, Header, check
from pardata.process.system import check_posix

_SETTLED_NS: Final = 50_000_000  # several ticks of the clock that file systems take their times from
_SLICE_BYTES: Final = 1 << 20  # so that a slice is still in the processor's cache when its checksum is computed


class OpenFile:
    """A paged file, open for reading by position: threads may read at once.

    Parameters
    ----------
    path : str
    token : bytes, optional
        The token that the file must have; default: any.

    Raises
    ------
    ConfigError
        There is no such file, or it is no paged file.
    ChecksumError
        The file is damaged or cut off.
    BrokenError
        The file has another token.

    Attributes
    ----------
    starts : array of int64, shape (pages + 1,)
        Number of the first record of each page, then the number of all records.
    offsets : array.array
        Position of each page, in bytes.
    seen : (int, bytearray)
        Time of the file's last change (ns), and for each page whether it was verified since then.
    map : mmap or bytes
        The whole file, from the first verified page on.
    whole, rest : (int, tuple of int)
        Size in bytes and shape of the rows of a full page, and of the last one.
    """

    fd = -1

    def __init__(self, path: str, token: bytes | None = None) -> None:
        self.path = path
        check_posix("a paged file")
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            header = Header.unpack(os.pread(self.fd, HEADER.size, 0), path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be opened: {error}") from error
        size = os.fstat(self.fd).st_size
        if size < header.file_bytes:
            raise ChecksumError(f"{path} is cut off: {size} of {header.file_bytes} bytes are there")
        if token is not None and token != header.token:
            raise BrokenError(f"{path} was replaced since this handle was made: open it again")
        self.header, self.nbytes = header, header.file_bytes
        self.map: mmap.mmap | bytes = b""
        meta = os.pread(self.fd, header.meta_bytes, header.meta_offset)
        index = os.pread(self.fd, header.index_bytes, header.file_bytes - header.index_bytes)
        self.format, self.records, self.starts = Format.unpack(meta, header.page_count, path)
        self._index(np.frombuffer(check(index, f"{path}, index"), "<u8").reshape(-1, 2))

    def _index(self, places: Any) -> None:
        # Arrays of the standard library: their items take half the time of NumPy's.
        self.offsets, self._sizes = (array.array("q", column.astype("i8").tobytes()) for column in places.T)
        self.seen = 0, bytearray()
        form = self.format
        self.last = self.header.page_count - 1
        if form.kind == "array":
            self.dtype = form.dtype
            rows = [form.page_records, self.records - self.last * form.page_records]
            self.whole, self.rest = ((count * form.item_bytes, (count, *form.item_shape)) for count in rows)

    def place(self, number: int) -> tuple[int, int]:
        """Return the position and the size of a page, in bytes."""
        return self.offsets[number], self._sizes[number]

    def entries(self) -> list[tuple[int, int, int]]:
        """Return records, offset and nbytes of each page."""
        return list(zip(np.diff(self.starts).tolist(), self.offsets, self._sizes, strict=True))

    def page(self, number: int) -> Any:
        """Verify and return the rows (an array, read-only) or the records (a list) of a page.

        `PagedFile.page` reads plain pages that were verified before.
        """
        if not 0 <= number <= self.last:
            raise IndexError(f"page {number} of {self.last + 1}")
        offset, nbytes = self.place(number)
        stamp = os.fstat(self.fd).st_ctime_ns
        stored = os.pread(self.fd, nbytes, offset)
        if len(stored) < nbytes:
            raise ChecksumError(f"{self._name(number)} is cut off: {len(stored)} of {nbytes} bytes are there")
        count = int(self.starts[number + 1] - self.starts[number])
        form = self.format
        decoded = form.decode(stored, count, self._name(number))
        if form.is_plain:
            self._note(number, stamp)
        return decoded

    def read_into(self, number: int, target: memoryview) -> None:
        """Read the data of a full page that is not compressed.

        Raises
        ------
        ChecksumError
            The page is damaged or cut off; `target` may be partly written.
        """
        offset = self.offsets[number]
        stamp, verified = self.seen
        if verified and verified[number]:
            count = os.preadv(self.fd, [target], offset)
            if os.fstat(self.fd).st_ctime_ns == stamp and count == len(target):
                return
        stamp = os.fstat(self.fd).st_ctime_ns
        found, position = 0, 0
        while position < len(target):
            part = target[position : position + _SLICE_BYTES]
            count = os.preadv(self.fd, [part], offset + position)
            if not count:
                break
            found = crc32c(part[:count], found)
            position += count
        tail = os.pread(self.fd, CHECKSUM_BYTES, offset + position)
        if len(tail) < CHECKSUM_BYTES:
            raise ChecksumError(f"{self._name(number)} is cut off")
        if found != int.from_bytes(tail, "little") or position < len(target):
            raise ChecksumError(f"{self._name(number)} is damaged: the checksum of its {position} bytes is wrong")
        self._note(number, stamp)

    def _note(self, number: int, stamp: int) -> None:
        """Note that a page was verified, the last change of the file being at `stamp`. Threads may do this at once."""
        known, verified = self.seen
        if not len(self.map):
            # Readers check the length of the file first: behind its end the mapping raises SIGBUS.
            self.map = mmap.mmap(self.fd, self.nbytes, prot=mmap.PROT_READ)
        if known != stamp or not verified:
            verified = bytearray(self.header.page_count)
            self.seen = stamp, verified
        # A change within the same tick of the clock would not be seen: a page of so new a file is verified again.
        verified[number] = time.time_ns() - stamp > _SETTLED_NS

    def _name(self, number: int) -> str:
        return f"{self.path}, page {number}"

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if self.fd >= 0 and not _is_over():
            os.close(self.fd)
