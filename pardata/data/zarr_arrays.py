"""Zarr arrays (zarr-python 3, formats 2 and 3): read at chunk borders, written at those of shards by any process.

A process that opens an array again reads its description anew: with an old description chunks that are gone would be
read as the fill value, without an error.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, ZipStore

from pardata.data.file_array import Array, FileArray, Selection, Writers, check_same, file_age, folder_age, gone
from pardata.data.new_file import NewFile
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError
from pardata.memory.disk import naming, sync


class ZarrArray(FileArray):
    """An array in a store: opened again by the store and the path in it."""

    def __init__(self, array: Any) -> None:
        self._store, obstacle = _lasting(array.store)
        self._path: str = array.path
        writers: Writers = "none" if array.read_only else "one" if obstacle else "many"
        self._mode = "r" if array.read_only else "r+"
        location = f"{self._store}/{self._path}" if self._path else str(self._store)
        chunks, shards = _grid(array)
        # Of format 3 an array that was just created has the byte order asked for, one that was opened the machine's.
        found = self._opened = array if obstacle else self._open(location)
        super().__init__(location, tuple(array.shape), found.dtype, chunks, shards or chunks, writers, obstacle)
        check_same(self, found.shape, found.dtype)
        self.survives_kills = not obstacle

    def read_into(self, selection: Selection, out: Array) -> None:
        buffer = default_buffer_prototype().nd_buffer.from_numpy_array(out)
        self._array().get_basic_selection(selection, out=buffer)

    def write(self, selection: Selection, values: Array) -> None:
        array = self._array()
        if not self.obstacle:
            array = _without_comparing(array, selection, values)
        with naming(self.location):  # a full disk has no name
            array.set_basic_selection(selection, values)

    def sync(self, begin: int, end: int) -> None:
        if not isinstance(self._store, LocalStore):
            return  # a server needs no help
        folder, there = self._files(begin, end)
        there += [path for name in ("zarr.json", ".zarray") if os.path.exists(path := os.path.join(folder, name))]
        for path in [*there, *{parent for file in there for parent in _parents(file, folder)}]:
            sync(path)

    def forget(self, begin: int, end: int) -> None:
        if isinstance(self._store, LocalStore):
            for path in self._files(begin, end)[1]:
                os.unlink(path)

    def age(self) -> object:
        """Return the ages of its files."""
        if isinstance(self._store, ZipStore):
            return file_age(str(self._store.path))
        if not isinstance(self._store, LocalStore):
            return None
        return folder_age(os.path.join(self._store.root, self._path))

    def _files(self, begin: int, end: int) -> tuple[str, list[str]]:
        """Return the folder, and the files with the chunks of some rows."""
        folder = os.path.normpath(os.path.join(self._store.root, self._path))
        rows = range(begin // self.unit_shape[0], -(-end // self.unit_shape[0]))
        others = [range(-(-length // unit)) for length, unit in zip(self.shape[1:], self.unit_shape[1:], strict=True)]
        encoded = self._array().metadata.encode_chunk_key
        files = [os.path.join(folder, encoded(place)) for place in itertools.product(rows, *others)]
        return folder, list(filter(os.path.exists, files))  # a chunk of nothing but the fill value has none

    def grow(self, rows: int) -> None:
        """Make it longer."""
        self.shape = (rows, *self.shape[1:])
        self._array().resize(self.shape)

    def _array(self) -> Any:
        if self._opened is None:
            found = self._open(self.location)
            check_same(self, found.shape, found.dtype)
            self._opened = found
        return self._opened

    def _open(self, location: str) -> Any:
        try:
            with _options_lock, zarr.config.set(_in_one_go()):
                return zarr.open_array(store=self._store, path=self._path, mode=self._mode)
        except (OSError, KeyError, ValueError) as error:
            raise gone(location, error) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}


def _parents(path: str, folder: str) -> Iterator[str]:
    """Yield the folders that a file is in, from the lowest to `folder`."""
    while path != folder:
        path = os.path.dirname(path)
        yield path


def _without_comparing(array: Any, selection: Selection, values: Array) -> Any:
    """Return an array that zarr writes without comparing each chunk with the fill value, if none is equal to that.

    It leaves such chunks out. To find that took 8 of 58 ms of a chunk of 8 MB in zstd (zarr 3.1), though one entry
    tells. zarr 3.4 takes 0.1 ms; zarr 3.0 cannot change an array's configuration.
    """
    if _COMPARES_FAST or values.nbytes < _COMPARED_BYTES or not hasattr(array, "with_config"):
        return array
    is_sure = _has_no_empty_chunk(array, selection, values)
    return array.with_config({"write_empty_chunks": True}) if is_sure else array


def _has_no_empty_chunk(array: Any, selection: Selection, values: Array) -> bool:
    """Return whether an entry of each chunk of a part, the one in the middle, is surely not the fill value."""
    fill, shape = array.fill_value, tuple(part.stop - part.start for part in selection)
    if fill is None or (values.shape, values.dtype) != (shape, array.dtype) or values.dtype.kind not in "iuf":
        return False
    places = [_middles(part, length) for part, length in zip(selection, array.chunks, strict=True)]
    found = values[np.ix_(*places)]
    return bool(((found != fill) & (found == found)).all())  # NaN may be the fill value


def _middles(part: slice, length: int) -> list[int]:
    """Return where in a part of an axis the middle of what it has of each chunk is."""
    begins = [part.start, *range(-(-(part.start + 1) // length) * length, part.stop, length), part.stop]
    return [(begin + end) // 2 - part.start for begin, end in itertools.pairwise(begins)]


def _in_one_go() -> dict[str, Any]:
    """Return the options with which zarr (3.4) encodes and decodes all chunks of a read or write in one go, if it can.

    It hands each chunk from thread to thread otherwise, and copies it once more: 10 % of the time of chunks of 8 MB in
    zstd. What the user has chosen is left. An array keeps what held when it was opened.
    """
    if zarr.config.get(_PIPELINE) != _THREADED or not _HAS_FUSED:
        return {}
    return {_PIPELINE: "zarr.core.codec_pipeline.FusedCodecPipeline"}


_COMPARED_BYTES: Final = 1 << 20  # of less the comparison takes no longer than to do without
_HAS_FUSED: Final = hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline")
_COMPARES_FAST: Final = _HAS_FUSED  # zarr 3.4 has both, 3.1 neither
_options_lock: Final = threading.Lock()  # of two threads the last would put back what the first has set
_PIPELINE: Final = "codec_pipeline.path"  # of zarr's options
_THREADED: Final = "zarr.core.codec_pipeline.BatchedCodecPipeline"  # its default


def _lasting(store: Any) -> tuple[Any, str]:
    """Return a store, the same under any name of its folder, and the reason why it cannot be opened again."""
    kind = type(store)
    if kind is LocalStore:
        return LocalStore(os.path.realpath(store.root), read_only=store.read_only), ""
    if kind is FsspecStore:
        if type(getattr(store.fs, "sync_fs", store.fs)).__name__ == "LocalFileSystem":  # a folder, and no server
            return LocalStore(os.path.realpath(store.path), read_only=store.read_only), ""
        protocols = store.fs.protocol if isinstance(store.fs.protocol, tuple | list) else (store.fs.protocol,)
        is_here = "memory" in protocols or type(getattr(store.fs, "sync_fs", None)).__name__ == "MemoryFileSystem"
        return store, _IN_MEMORY if is_here else ""
    if kind is ZipStore:
        return store, "" if store.read_only else "a zip file that is open for writing has no other readers"
    if "Memory" in kind.__name__:
        return store, _IN_MEMORY
    return store, f"it is in a {kind.__name__}; folders, fsspec's URLs and zip files can be opened again"


_IN_MEMORY = "it is in the memory of this process; save it to a folder, or give its values, array[:]"


def _grid(array: Any) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    try:
        return tuple(array.chunks), array.shards and tuple(array.shards)
    except NotImplementedError as error:
        raise ConfigError(f"{array.store}/{array.path} has chunks of different shapes: {error}") from error


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a zarr.Array; None of other objects. Raises `ConfigError` for a group."""
    if isinstance(found, zarr.Array):
        return ZarrArray(found)
    if isinstance(found, zarr.Group):
        names = ", ".join(map(repr, _keys(found)[:20])) or "none"
        raise ConfigError(f"{found.store} is a group of arrays, {names}: give one of them, group[name]")
    return None


def open_path(path: str, key: str | None) -> Any:
    """Return the array in a folder or at a URL, or the one named `key` in a group, opened for reading."""
    try:
        found = zarr.open(path if "://" in path else os.path.abspath(path), mode="r")
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    if isinstance(found, zarr.Array):
        if key is not None:
            raise ConfigError(f"open({path!r}, key={key!r}): it is one array, which has no key")
        return found
    named = found.get(key) if isinstance(key, str) else None
    if isinstance(named, zarr.Array):
        return named
    return found[chosen_key(path, key, _keys(found))]


def _keys(group: Any) -> list[str]:
    return [name for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)]


class PartArray(ZarrArray):
    """The array of a folder that is not whole yet.

    A thread of a pool cannot be ended by Ctrl-C as a process is: it may write when the folder has been removed, and
    zarr makes the folder again. The thread that does so removes it.
    """

    is_discarded = False

    def write(self, selection: Selection, values: Array) -> None:
        try:
            super().write(selection, values)
        finally:  # SYNC POINT: discarded part (discard sets the flag before it removes the folder)
            if self.is_discarded:
                shutil.rmtree(self._store.root, ignore_errors=True)


class NewZarr(NewFile):
    """A folder with one array, and no group around it."""

    survives_kills = True
    _made: PartArray | None = None

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        try:
            made = zarr.create_array(LocalStore(self.part), shape=shape, dtype=dtype, chunks=chunks, overwrite=True)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.path}: a Zarr array cannot hold {dtype}: {error}") from error
        self._made = PartArray(made)
        return self._made

    def grow(self, rows: int) -> None:
        assert self._made is not None
        self._made.grow(rows)

    def description(self) -> bytes:
        return Path(self.part, "zarr.json").read_bytes()

    def reopen(self, description: bytes, rows: int) -> FileArray:
        # A power cut may have torn whatever was written behind the cut, and a kill leaves what zarr was writing.
        for path in Path(self.part).rglob("*.partial"):
            path.unlink()
        Path(self.part, "zarr.json").write_bytes(description)
        sync(os.path.join(self.part, "zarr.json"))  # where no more rows come, nothing else flushes it
        try:
            made = zarr.open_array(LocalStore(self.part), mode="r+")
        except (OSError, KeyError, ValueError) as error:
            raise gone(self.part, error) from error
        self._made = PartArray(made)
        for path in Path(self.part, "c").glob("*"):
            if int(path.name) >= -(-rows // made.chunks[0]):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return self._made

    def discard(self) -> None:
        if self._made is not None:
            self._made.is_discarded = True  # SYNC POINT: discarded part
        super().discard()

    def close(self) -> None:
        """Do nothing: each chunk is a file, which is whole."""

    def open(self) -> Any:
        return zarr.open_array(self.path, mode="r+")


def new_file(path: str, key: str | None, compression: Any) -> NewFile:
    """Return a new folder."""
    if key is not None:
        raise ConfigError(f"{path}: it becomes one array, which has no key={key!r}")
    if compression is not None:
        raise ConfigError(
            f"{path}, compression={compression!r}: a new Zarr array is compressed by zstd; make one with other codecs, "
            f"zarr.create_array(..., compressors=...), and give it"
        )
    return NewZarr(path, "")
