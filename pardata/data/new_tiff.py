"""New TIFF files: the images lie in one piece, uncompressed, so that any process may write to its own part of them.

map_array   all pages are made at the beginning, workers map the file and write   ---> named when it is whole
.to(path)   one writer appends pages, as their number is not known before         ---> named when it is whole

Where a compressed page lies depends on those before it: then one writer appends them for `map_array`, too.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import sys
import weakref
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tifffile

from pardata.data.file_array import Array, EncodedChunks, Encoder, FileArray, Selection, Writers, page_of_rows
from pardata.data.new_file import NewFile
from pardata.errors import ConfigError
from pardata.memory.disk import allocate, check_free, naming, write_all

_MOST_BYTES: Final = {"u": 8, "i": 8, "f": 8, "c": 16}  # of a pixel, by the kind of its dtype
_SLACK_BYTES: Final = 1 << 16  # of a disk, for the descriptions of pages
_NO_IMAGES: Final = "a TIFF file holds images, at least one, which have two axes and are not empty"
_CLASSIC_BYTES: Final = 1 << 31  # of the pixels: 32-bit offsets reach the descriptions of all pages behind them


class MappedImages(FileArray):
    """All pages of a file, as one array that is mapped."""

    def __init__(self, path: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path = path
        self._offset = offset
        self._map: Array | None = None
        super().__init__(path, shape, dtype, page_of_rows(shape, dtype), (1,) * len(shape), "many")

    def read_into(self, selection: Selection, out: Array) -> None:
        out[...] = self._mapped()[selection]

    def write(self, selection: Selection, values: Array) -> None:
        rows, *inner = selection
        if all((part.start, part.stop) == (0, length) for part, length in zip(inner, self.shape[1:], strict=True)):
            # A call of the system takes less than half of what the faults of fresh pages of a mapped file take.
            row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
            data = np.ascontiguousarray(values, self.dtype).reshape(-1).view(np.uint8)
            with open(self._path, "r+b", buffering=0) as file:
                write_all(file.fileno(), data, self._offset + rows.start * row_bytes, self._path)
        else:
            self._mapped()[selection] = values

    def _mapped(self) -> Array:
        if self._map is None:
            self._map = np.memmap(self._path, self.dtype, "r+", self._offset, self.shape)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_map": None}


@dataclass(frozen=True)
class StripEncoder:
    """Compresses rows, each an image or a stack of them, as the library does: into the strips of its pages."""

    dtype: np.dtype[Any]
    options: dict[str, Any]

    def encode(self, selection: Selection, values: Array) -> EncodedChunks:
        """Return the strips of all pages, with the number of their row."""
        made: EncodedChunks = []
        for number, row in enumerate(values, selection[0].start):
            file = io.BytesIO()
            with tifffile.TiffWriter(file, byteorder=_byte_order(self.dtype)) as writer:
                writer.write(row.astype(self.dtype, copy=False), **self.options)
            data = np.frombuffer(file.getbuffer(), np.uint8)
            file.seek(0)
            for page in tifffile.TiffFile(file).pages:
                strips = zip(page.dataoffsets, page.databytecounts, strict=True)
                made += [((number,), data[begin : begin + nbytes]) for begin, nbytes in strips]
        return made


class AppendedImages(FileArray):
    """Rows that are appended in order: each is an image, or a stack of them."""

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int, compression: Any) -> None:
        self._options: dict[str, Any] = {"photometric": _photometric(shape[1:], dtype)}
        if compression is None:
            self._options["contiguous"] = True
        else:  # the library would describe each row as a series of its own
            self._options |= {"compression": compression, "metadata": None}
        self._compression = compression
        self._appended = 0
        pages = (rows, *shape[1:])
        super().__init__(path, shape, dtype, pages, pages, "one", "one process writes it")
        self._writer: Any = tifffile.TiffWriter(path, bigtiff=True, byteorder=_byte_order(dtype))

    def read_into(self, selection: Selection, out: Array) -> None:
        raise NotImplementedError("it is being written")

    def encoder(self) -> Encoder | None:
        return None if self._compression is None else StripEncoder(self.dtype, self._options)

    def write(self, selection: Selection, values: Array) -> None:
        for row in values.astype(self.dtype, copy=False):
            self._append(row, row.nbytes)

    def write_encoded(self, chunks: EncodedChunks) -> None:
        for _, found in itertools.groupby(chunks, key=lambda chunk: chunk[0]):
            strips = [strip for _, strip in found]
            nbytes = sum(strip.nbytes for strip in strips)
            self._append(map(bytes, strips), nbytes, shape=self.shape[1:], dtype=self.dtype)

    def _append(self, row: Any, nbytes: int, **options: Any) -> None:
        check_free(self.location, nbytes + _SLACK_BYTES)  # NumPy's error about a full disk has no errno
        if self._compression is not None and not self._appended:
            options["description"] = "{}"  # in the place of which `close` puts that of all rows
        self._writer.write(row, **self._options, **options)
        self._appended += 1

    def close(self) -> None:
        """Write the descriptions of all pages."""
        self._writer.close()
        # Of a single row the library leaves the first axis out.
        if self._appended == 1 or (self._appended and self._compression is not None):
            tifffile.tiffcomment(self.location, json.dumps({"shape": self.shape}))


class NewTiff(NewFile):
    """A file with one series, whose shape is that of the array."""

    _appended: AppendedImages | None = None
    _place: tuple[np.dtype[Any], int, tuple[int, ...]] | None = None  # where the pixels are, if they are mapped

    def __init__(self, path: str, compression: Any) -> None:
        super().__init__(path, "")
        self._compression = compression
        if compression is not None:
            self.writers: Writers = "in order"
            try:  # what the library does not know, or cannot do here, is told before anything is written
                StripEncoder(np.dtype("u1"), {"compression": compression}).encode(
                    (slice(0, 1),), np.zeros((1, 8, 8), "u1")
                )
            except (ImportError, KeyError, TypeError, ValueError) as error:
                raise ConfigError(f"{self.path}: compression={compression!r}: {error}") from error

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        if dtype.itemsize > _MOST_BYTES.get(dtype.kind, 0):
            raise ConfigError(f"{self.path}: a TIFF file cannot hold {dtype}; numbers of 8 to 64 bits are its pixels")
        is_appended = not shape[0]
        if not all(shape[1:]) or len(shape) < 2 + is_appended:
            raise ConfigError(f"{self.path}: {_NO_IMAGES}")
        if is_appended or self._compression is not None:
            if len(shape) < 3 or chunks[1:] != shape[1:]:
                raise ConfigError(
                    f"{self.path}: images that are compressed are written one after the other, so an array is cut "
                    f"along its first axis, and needs two more: its shape is {shape}"
                )
            self._appended = AppendedImages(self.part, shape, dtype, chunks[0], self._compression)
            return self._appended
        nbytes = math.prod(shape) * dtype.itemsize
        with naming(self.path):
            made = tifffile.memmap(
                self.part,
                shape=shape,
                dtype=dtype,
                byteorder=_byte_order(dtype),
                photometric=_photometric(shape, dtype),
                bigtiff=nbytes > _CLASSIC_BYTES,
            )
            with open(self.part, "r+b") as file:
                allocate(file.fileno(), nbytes, self.path, made.offset)
        self._place = made.dtype, made.offset, shape
        return MappedImages(self.part, made.offset, shape, dtype)

    def grow(self, rows: int) -> None:
        assert self._appended is not None
        self._appended.shape = (rows, *self._appended.shape[1:])

    def close(self) -> None:
        appended, self._appended = self._appended, None
        if appended is not None:
            appended.close()

    def commit(self) -> None:
        if self._appended is not None and not self._appended.shape[0]:
            raise ConfigError(f"{self.path}: {_NO_IMAGES}")
        super().commit()

    def open(self) -> Any:
        if self._compression is not None:
            return opened_file(self.path).series[0]
        assert self._place is not None
        dtype, offset, shape = self._place
        return np.memmap(self.path, dtype, "r", offset, shape)  # the library maps no pixels of 128 bits


def _byte_order(dtype: np.dtype[Any]) -> Any:
    return "=" if dtype.isnative else ">" if sys.byteorder == "little" else "<"


def _photometric(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return whether the last axis is one of colours, as the library guesses it from a shape and a dtype."""
    is_rgb = len(shape) > 2 and shape[-1] in (3, 4) and dtype.kind == "u" and dtype.itemsize <= 2
    return "rgb" if is_rgb else "minisblack"


def opened_file(path: str) -> Any:
    """Return a file that is open until nothing refers to it: a series has no close()."""
    file = tifffile.TiffFile(path)
    weakref.finalize(file, file.filehandle.close)  # a file that goes while it is open is a ResourceWarning
    return file


def new_file(path: str, key: str | None, compression: Any) -> NewFile:
    """Return a new file."""
    if key is not None:
        raise ConfigError(f"{path}: it becomes one array, which has no key={key!r}")
    return NewTiff(path, compression)
