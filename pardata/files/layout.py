"""The bytes of a paged file. Pure: no I/O.

      header   64 bytes: the offsets and sizes of the rest
      pages    each at a multiple of 64 bytes: data, compressed or not, and their CRC-32C
      meta     JSON; then, where records differ in size, the number of the first record of each page
      index    (offset, nbytes) of each page, and its CRC-32C: that of a Zarr v3 shard, at the end of the file

If its pages are chunks of equal shape, the file is a shard of a Zarr array that holds all of the array's chunks.

Source: Zarr v3 specification, sharding codec 1.0
"""

from __future__ import annotations

import json
import operator
import os
import pickle
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import ChecksumError, ConfigError, SerializationError
from pardata.files.checksums import crc32c
from pardata.files.compression import codec_of
from pardata.files.pickling import dumps
from pardata.memory.dtypes import descr_of, dtype_of

ALIGNMENT: Final = 64
CHECKSUM_BYTES: Final = 4
TOKEN_BYTES: Final = 8
MOST_PAGE_BYTES: Final = 0x7FFFF000 - ALIGNMENT  # Linux reads or writes no more at once
MAGIC: Final = b"pardata\1"
HEADER: Final = struct.Struct(f"<8sQQQQ{TOKEN_BYTES}s12xI")  # `Header`, then the CRC-32C of all bytes before it
_KINDS: Final = ("array", "bytes", "objects")

Array = np.ndarray[Any, Any]


class Header(NamedTuple):
    """The first 64 bytes of the file: offsets and sizes, in bytes."""

    meta_offset: int
    meta_bytes: int
    page_count: int
    file_bytes: int
    token: bytes  # random; different for each file that a writer has made

    def pack(self) -> bytes:
        """Return the bytes at the beginning of the file."""
        packed = HEADER.pack(MAGIC, *self, 0)[:-CHECKSUM_BYTES]
        return packed + crc32c(packed).to_bytes(CHECKSUM_BYTES, "little")

    @classmethod
    def unpack(cls, data: bytes, path: str) -> Header:
        """Return the header.

        Raises `ConfigError` if the file is no paged file, `ChecksumError` if the header is damaged.
        """
        if data[: len(MAGIC)] != MAGIC:
            raise ConfigError(f"{path} is not a paged file: it does not begin with {MAGIC!r}")
        check(data, f"{path}, header")
        _, *fields, _ = HEADER.unpack(data)
        return cls(*fields)

    @property
    def index_bytes(self) -> int:
        """Bytes of the index, its checksum included."""
        return 16 * self.page_count + CHECKSUM_BYTES


def sealed(data: Any) -> bytes:
    """Return data and their checksum."""
    return b"".join([data, crc32c(data).to_bytes(CHECKSUM_BYTES, "little")])


def check(data: Any, what: str) -> memoryview:
    """Return the data that `sealed` was given; raise `ChecksumError` if they have changed."""
    view = memoryview(data)
    body = view[:-CHECKSUM_BYTES]
    if crc32c(body) != int.from_bytes(view[-CHECKSUM_BYTES:], "little"):
        raise ChecksumError(f"{what} is damaged: the checksum of its {len(body)} bytes is wrong")
    return body


def pack_index(places: Sequence[tuple[int, int]]) -> bytes:
    """Return the index of pages at (offset, nbytes)."""
    return sealed(np.array(places, "<u8").reshape(-1, 2).tobytes())


def padded_size(nbytes: int) -> int:
    """Return `nbytes` rounded up to the alignment."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Format:
    """The records of a paged file and their encoding in pages.

    Parameters
    ----------
    kind : "array", "bytes" or "objects"
    page_records : int
        Rows per page (the last page may have fewer and is filled up with zeros); 0 for bytes and objects.
    descr : object
        The dtype, as returned by `descr_of`.
    item_shape : tuple of int
        Shape of a row.
    page_bytes : int
        Least size in bytes of a full page of bytes or objects.
    compression : None, "gzip" or "zstd"
    """

    kind: str
    page_records: int = 0
    descr: Any = None
    item_shape: tuple[int, ...] = ()
    page_bytes: int = 0
    compression: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(f"kind must be one of {_KINDS}, not {self.kind!r}")
        codec_of(self.compression)

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a row's entries."""
        return dtype_of(_tuples(self.descr))

    @cached_property
    def is_plain(self) -> bool:
        """True if a page holds its rows in the form they have in memory."""
        return self.kind == "array" and self.compression is None

    @cached_property
    def item_bytes(self) -> int:
        """Size of a row in bytes."""
        return int(np.prod(self.item_shape, dtype=object)) * self.dtype.itemsize

    def part_of(self, record: Any) -> bytes:
        """Return the encoded bytes of one record of bytes or objects."""
        return bytes(record) if self.kind == "bytes" else dumps(record)

    def encode(self, records: Any) -> list[Any]:
        """Return the parts of a stored page: its data and their checksum.

        `records` are rows, or records encoded by `part_of`. Raises `ConfigError` if the page is too large.
        """
        data = self._encode_rows(records) if self.kind == "array" else _joined(records)
        if self.compression is not None:
            data = codec_of(self.compression)[0](data)
        if len(data) + CHECKSUM_BYTES > MOST_PAGE_BYTES:
            raise ConfigError(f"a page of {len(data)} bytes is too large: {MOST_PAGE_BYTES} are read at once at most")
        return [data, crc32c(data).to_bytes(CHECKSUM_BYTES, "little")]

    def _encode_rows(self, rows: Array) -> Any:
        if len(rows) == self.page_records:
            return rows.reshape(-1).view(np.uint8).data  # not copied
        return rows.tobytes() + bytes((self.page_records - len(rows)) * self.item_bytes)

    def decode(self, stored: Any, count: int, what: str) -> Any:
        """Return the `count` records of a page.

        Raises `ChecksumError` naming `what`, `SerializationError` if a record cannot be unpickled here.
        """
        data: Any = check(stored, what)
        if self.compression is not None:
            try:
                data = codec_of(self.compression)[1](data)
            except Exception as error:
                raise ChecksumError(f"{what} cannot be decompressed: {error}") from error
        if self.kind == "array":
            # `data` is read-only, and so is the array.
            return np.frombuffer(data, self.dtype, count * self.item_count).reshape(count, *self.item_shape)
        return _decode_records(data, self.kind, what)

    @cached_property
    def item_count(self) -> int:
        """Number of entries of a row."""
        return int(np.prod(self.item_shape, dtype=object))

    def pack(self, records: int, starts: Array) -> bytes:
        """Return the meta data: this format, the number of records and the first record of each page."""
        head = json.dumps({**asdict(self), "records": records}).encode()
        tail = b"" if self.kind == "array" else starts.astype("<u8").tobytes()
        return sealed(len(head).to_bytes(8, "little") + head + tail)

    @classmethod
    def unpack(cls, data: Any, page_count: int, path: str) -> tuple[Format, int, Array]:
        """Return the format, the number of records and the number of the first record of each page."""
        body = check(data, f"{path}, meta data")
        end = 8 + int.from_bytes(body[:8], "little")
        fields = json.loads(bytes(body[8:end]))
        records = fields.pop("records")
        made = cls(**{**fields, "item_shape": tuple(fields["item_shape"])})
        if made.kind == "array":
            starts = np.minimum(np.arange(page_count + 1) * made.page_records, records)
        else:
            starts = np.frombuffer(body[end:], "<u8").astype(np.int64)
        return made, records, starts


def array_format(dtype: Any, item_shape: Sequence[int], page_bytes: int, compression: str | None) -> Format:
    """Return the format of rows of an array, as many per page as make up `page_bytes`."""
    try:
        kind = np.dtype(dtype).newbyteorder("<")
        shape = tuple(map(operator.index, item_shape))
    except TypeError as error:
        raise ConfigError(f"rows of shape {item_shape!r} and dtype {dtype!r} cannot be kept: {error}") from error
    if min(shape, default=1) < 0:
        raise ConfigError(f"item_shape must be sizes of at least 0, not {shape}")
    if kind.hasobject:
        raise ConfigError(f"an array of {kind} holds Python objects: use kind='objects'")
    item_bytes = int(np.prod(shape, dtype=object)) * kind.itemsize
    if not item_bytes:
        raise ConfigError(f"rows of shape {shape} and dtype {kind} have no bytes")
    if item_bytes + CHECKSUM_BYTES > MOST_PAGE_BYTES:
        raise ConfigError(f"a row of {item_bytes} bytes is too large: {MOST_PAGE_BYTES} are read at once at most")
    descr = descr_of(kind, "a paged file")
    return Format("array", max(1, page_bytes // item_bytes), descr, shape, page_bytes, compression)


def _tuples(descr: Any) -> Any:
    """Return the fields of a record dtype as tuples; JSON has turned them into lists."""
    if not isinstance(descr, list):
        return descr
    return [
        (tuple(name) if isinstance(name, list) else name, _tuples(kind), *map(tuple, rest))
        for name, kind, *rest in descr
    ]


def _joined(parts: Sequence[bytes]) -> bytes:
    lengths = np.array([len(part) for part in parts], "<u8")
    return b"".join([len(parts).to_bytes(8, "little"), lengths.tobytes(), *parts])


def _decode_records(data: Any, kind: str, what: str) -> list[Any]:
    view = memoryview(data)
    count = int.from_bytes(view[:8], "little")
    position = 8 + 8 * count
    records: list[Any] = []
    for length in np.frombuffer(view[8:position], "<u8").tolist():
        part = view[position : position + length]
        records.append(bytes(part) if kind == "bytes" else _unpickled(part, f"{what}, its record {len(records)}"))
        position += length
    return records


def _unpickled(part: memoryview, what: str) -> Any:
    try:
        return pickle.loads(part)
    except MemoryError:
        raise
    except Exception as error:  # of any type: it is the user's code that runs
        raise SerializationError(f"{what} cannot be unpickled here: {type(error).__name__}: {error}") from error


def new_token() -> bytes:
    """Return random bytes that tell a file from all others that have had its name."""
    return os.urandom(TOKEN_BYTES)
