"""Arrays of Blosc2 in files: read by any process, written by one, whose chunks workers compress.

A file has one table of where its chunks are, which each write changes: two processes that write to it lose chunks.
"""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import dataclass
from typing import Any, Final

import blosc2
import numpy as np

from pardata.data.file_array import Array, EncodedChunks, Encoder, FileArray, Selection, check_same, gone
from pardata.data.new_file import NewFile
from pardata.errors import ConfigError
from pardata.memory.disk import check_free

_SLACK_BYTES: Final = 1 << 20  # of a disk, for the table of chunks


@dataclass(frozen=True)
class Blosc2Encoder:
    """Compresses chunks as an array has them, by the same codec; what is behind the end of the array is zeros."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    dtype: np.dtype[Any]
    parameters: Any

    def encode(self, selection: Selection, values: Array) -> EncodedChunks:
        """Return the chunks of a part that begins and ends where chunks do, or where the array ends."""
        made = blosc2.asarray(
            np.ascontiguousarray(values, self.dtype),
            chunks=self.chunks,
            blocks=self.blocks,
            cparams=self.parameters,
        )
        starts = [range(part.start, part.stop, step) for part, step in zip(selection, self.chunks, strict=True)]
        return [
            (corner, np.frombuffer(made.schunk.get_chunk(number), np.uint8))
            for number, corner in enumerate(itertools.product(*starts))
        ]


class Blosc2Array(FileArray):
    """An array: opened again by the path of its file."""

    way_to_write = 'blosc2.open(path, mode="a") opens it for writing'

    def __init__(self, array: Any) -> None:
        path = array.schunk.urlpath
        self._path: str | None = path and os.path.realpath(path)
        self._array: Any = array
        shape, chunks = tuple(array.shape), tuple(max(1, step) for step in array.chunks)
        writers: Any = "none" if path and array.schunk.mode == "r" else "one"
        obstacle = (
            "" if path else "it is in the memory of this process; save it to a file, or give its values, array[:]"
        )
        super().__init__(self._path or "an array of blosc2", shape, array.dtype, chunks, chunks, writers, obstacle)

    def read_into(self, selection: Selection, out: Array) -> None:
        out[...] = self._opened()[selection]

    def write(self, selection: Selection, values: Array) -> None:
        # A chunk is compressed as a whole, also where it has one entry only.
        stored = math.prod(
            -(-part.stop // step) * step - part.start // step * step
            for part, step in zip(selection, self.page_shape, strict=True)
        )
        self._check_free(stored * self.dtype.itemsize)
        self._array[selection] = np.ascontiguousarray(values, self.dtype)

    def encoder(self) -> Encoder | None:
        given = self._array
        return Blosc2Encoder(self.shape, self.page_shape, tuple(given.blocks), self.dtype, given.cparams)

    def write_encoded(self, chunks: EncodedChunks) -> None:
        self._check_free(sum(data.nbytes for _, data in chunks))
        grid = [-(-length // step) for length, step in zip(self.shape, self.page_shape, strict=True)]
        for corner, data in chunks:
            place = [at // step for at, step in zip(corner, self.page_shape, strict=True)]
            self._array.schunk.update_chunk(int(np.ravel_multi_index(place, grid)), data.tobytes())

    def grow(self, rows: int) -> None:
        """Make it longer."""
        self.shape = (rows, *self.shape[1:])
        self._array.resize(self.shape)

    def _check_free(self, nbytes: int) -> None:
        """A file that has found a full disk cannot be opened again."""
        if self._path is not None:
            check_free(self._path, nbytes + _SLACK_BYTES)

    def _opened(self) -> Any:
        if self._array is None:
            try:
                found = blosc2.open(self._path, mode="r", dparams={"nthreads": os.cpu_count() or 1})
            except (OSError, RuntimeError) as error:
                raise gone(self.location, error) from error
            check_same(self, found.shape, found.dtype)
            self._array = found
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_array": None}


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of an array; None of other objects. Raises `ConfigError` for what is only computed."""
    if isinstance(found, blosc2.NDArray):
        return Blosc2Array(found)
    if isinstance(found, blosc2.LazyArray):
        raise ConfigError(
            f"a {type(found).__name__} of blosc2 has no chunks of its own: give its values, lazy.compute()"
        )
    return None


def open_path(path: str, key: str | None) -> Any:
    """Return the array of a file, opened for reading."""
    if key is not None:
        raise ConfigError(f"open({path!r}, key={key!r}): it is one array, which has no key")
    try:
        found = blosc2.open(os.path.abspath(path), mode="r")
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    if not isinstance(found, blosc2.NDArray):
        raise ConfigError(f"open({path!r}): there is a {type(found).__name__} in it, and no array")
    return found


class NewBlosc2(NewFile):
    """A file with one array, which this process writes."""

    writers = "one"
    _made: Blosc2Array | None = None

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        check_free(self.path, _SLACK_BYTES)
        try:
            made = blosc2.zeros(shape, dtype=dtype, chunks=chunks, urlpath=self.part, mode="w")
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.path}: an array of blosc2 cannot hold {dtype}: {error}") from error
        self._made = Blosc2Array(made)
        return self._made

    def grow(self, rows: int) -> None:
        assert self._made is not None
        self._made.grow(rows)

    def close(self) -> None:
        """Do nothing: each write is in the file."""

    def open(self) -> Any:
        return blosc2.open(self.path, mode="r")


def new_file(path: str, key: str | None, compression: Any) -> NewFile:
    """Return a new file."""
    if key is not None:
        raise ConfigError(f"{path}: it becomes one array, which has no key={key!r}")
    if compression is not None:
        raise ConfigError(
            f"{path}, compression={compression!r}: a new array of blosc2 is compressed by zstd; make one with other "
            f"codecs, blosc2.zeros(..., cparams=...), and give it"
        )
    return NewBlosc2(path, "")
