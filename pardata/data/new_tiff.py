"""New TIFF files: the images lie in one piece, uncompressed, so that any process may write to its own part of them.

map_array   all pages are made at the beginning, workers map the file and write   ---> named when it is whole
.to(path)   one writer appends pages, as their number is not known before         ---> named when it is whole
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any, Final

import numpy as np
import tifffile

from pardata.data.file_array import Array, FileArray, Selection, page_of_rows
from pardata.data.new_file import NewFile
from pardata.errors import ConfigError
from pardata.memory.disk import allocate, check_free, naming

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
        self._mapped()[selection] = values

    def _mapped(self) -> Array:
        if self._map is None:
            self._map = np.memmap(self._path, self.dtype, "r+", self._offset, self.shape)
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_map": None}


class AppendedImages(FileArray):
    """Rows that are appended in order: each is an image, or a stack of them."""

    def __init__(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int) -> None:
        self._writer: Any = tifffile.TiffWriter(path, bigtiff=True, byteorder=_byte_order(dtype))
        self._photometric = _photometric(shape[1:], dtype)
        pages = (rows, *shape[1:])
        super().__init__(path, shape, dtype, pages, pages, "one", "one process writes it")

    def read_into(self, selection: Selection, out: Array) -> None:
        raise NotImplementedError("it is being written")

    def write(self, selection: Selection, values: Array) -> None:
        check_free(self.location, values.nbytes + _SLACK_BYTES)  # NumPy's error about a full disk has no errno
        for row in values:
            self._writer.write(row, contiguous=True, photometric=self._photometric)

    def close(self) -> None:
        """Write the descriptions of all pages."""
        self._writer.close()
        if self.shape[0] == 1:  # of a single row the library leaves the first axis out
            tifffile.tiffcomment(self.location, json.dumps({"shape": self.shape}))


class NewTiff(NewFile):
    """A file with one series, whose shape is that of the array."""

    _appended: AppendedImages | None = None

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        if dtype.itemsize > _MOST_BYTES.get(dtype.kind, 0):
            raise ConfigError(f"{self.path}: a TIFF file cannot hold {dtype}; numbers of 8 to 64 bits are its pixels")
        is_appended = not shape[0]
        if not all(shape[1:]) or len(shape) < 2 + is_appended:
            raise ConfigError(f"{self.path}: {_NO_IMAGES}")
        if is_appended:
            self._appended = AppendedImages(self.part, shape, dtype, chunks[0])
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
        return tifffile.memmap(self.path, mode="r")


def _byte_order(dtype: np.dtype[Any]) -> Any:
    return "=" if dtype.isnative else ">" if sys.byteorder == "little" else "<"


def _photometric(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Return whether the last axis is one of colours, as the library guesses it from a shape and a dtype."""
    is_rgb = len(shape) > 2 and shape[-1] in (3, 4) and dtype.kind == "u" and dtype.itemsize <= 2
    return "rgb" if is_rgb else "minisblack"


def new_file(path: str, key: str | None) -> NewFile:
    """Return a new file."""
    if key is not None:
        raise ConfigError(f"{path}: it becomes one array, which has no key={key!r}")
    return NewTiff(path, "")
