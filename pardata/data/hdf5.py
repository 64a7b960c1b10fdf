"""Datasets of HDF5 files (h5py): read by any process, written by the one that has the file open.

A file that is open holds a lock: for reading nobody may write to it, for writing nobody else may open it at all. So a
worker opens a file for each read, and has closed it when the read is over: a worker of a pool lives long, and would
keep the user from writing to the file afterwards. (An open takes less than the read of 1 MB.)
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import h5py
import numpy as np

from pardata.data.file_array import (
    Array,
    EncodedChunks,
    Encoder,
    FileArray,
    Selection,
    ages,
    check_same,
    gone,
    page_of_rows,
)
from pardata.data.hdf5_chunks import codec_of, read_chunks
from pardata.data.new_file import NewFile
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError
from pardata.memory.disk import check_free

_DRIVERS: Final = ("sec2", "stdio", "direct")  # the others need more than a path, or are no files
_SLACK_BYTES: Final = 1 << 20  # of a disk, for HDF5's own tables


class DatasetArray(FileArray):
    """A dataset: opened again by the path of the file and its name in it."""

    of_process = ("_others",)  # their ages are compared, not where they are

    def __init__(self, dataset: Any) -> None:
        if not dataset:
            raise ConfigError("the h5py dataset is of a file that was closed: open it again")
        file = dataset.file
        # Links in it are left: HDF5 looks for the files of a virtual dataset beside the name that it was given.
        self._path: str = os.path.join(os.getcwd(), os.fsdecode(file.filename))
        self._key: str | None = dataset.name
        self._dataset: Any = dataset
        self._swmr: bool = file.swmr_mode
        self._locking = _locking(file)
        self._others = _other_files(dataset, self._path)
        is_written = file.mode != "r"
        location = f"{os.path.realpath(self._path)}:{self._key}"
        if dataset.shape is None:
            raise ConfigError(f"{location} is empty: it has a dtype, and no shape")
        shape = tuple(dataset.shape)
        chunks = dataset.chunks or page_of_rows(shape, dataset.dtype)
        obstacle = _obstacle(dataset, is_written)
        super().__init__(location, shape, dataset.dtype, chunks, chunks, "one" if is_written else "none", obstacle)

    def read_into(self, selection: Selection, out: Array) -> None:
        with self._open() as dataset:
            # What grows or is written to meanwhile HDF5 reads: it knows which chunks it has in memory.
            is_still = self.writers == "none" and not self._swmr
            for part, place in read_chunks(dataset, selection, out) if is_still else [(selection, out)]:
                if place.flags.c_contiguous:
                    dataset.read_direct(place, part)
                else:
                    place[...] = dataset[part]

    def write(self, selection: Selection, values: Array) -> None:
        # A chunk takes its place as a whole, also where it has one entry only. Filters rarely make it longer.
        stored = [
            -(-part.stop // step) * step - part.start // step * step
            for part, step in zip(selection, self._dataset.chunks or (1,) * self.ndim, strict=True)
        ]
        with self._writing(math.prod(stored) * self._dataset.id.get_type().get_size()):
            self._dataset[selection] = values

    def age(self) -> object:
        """Return the age of the file, or of all files that the values lie in."""
        return ages([self._path, *self._others])

    def encoder(self) -> Encoder | None:
        return codec_of(self._dataset)

    def write_encoded(self, chunks: EncodedChunks) -> None:
        with self._writing(sum(data.nbytes for _, data in chunks)):
            for corner, data in chunks:
                self._dataset.id.write_direct_chunk(corner, data)

    @contextmanager
    def _writing(self, nbytes: int) -> Iterator[None]:
        # HDF5 2.0 ends the process by a segmentation fault when a file is closed whose chunks had no place on the disk.
        # So there must be place before a write, and nothing is left in its cache behind it.
        check_free(self._path, nbytes + _SLACK_BYTES)
        yield
        self._dataset.file.flush()

    def grow(self, rows: int) -> None:
        """Make it longer."""
        self.shape = (rows, *self.shape[1:])
        self._dataset.resize(self.shape)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Yield the dataset: the user's own one, in the process that has it."""
        if self._dataset is not None:
            yield self._dataset
            return
        try:
            file = h5py.File(self._path, "r", swmr=self._swmr, locking=self._locking)
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, _locked(self._path)) from None
        except OSError as error:
            raise gone(self.location, error) from error
        with file:
            try:
                dataset = file[self._key]
                shape, dtype = dataset.shape, dataset.dtype
            except (KeyError, AttributeError) as error:
                raise gone(self.location, error) from error
            if self._swmr and len(shape) == self.ndim:  # its writer may have made it longer meanwhile
                shape = tuple(map(min, shape, self.shape))
            check_same(self, shape, dtype)
            yield dataset

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_dataset": None}


def _other_files(dataset: Any, path: str) -> list[str]:
    """Return the other files that a dataset's values lie in, in the order of their names."""
    virtual = {part.file_name for part in dataset.virtual_sources()} - {"."} if dataset.is_virtual else set()
    external = {os.fsdecode(part[0]) for part in dataset.external or ()}
    here = os.getcwd()  # where HDF5 looks for external files, and for those of a virtual dataset that are not beside it
    found = [os.path.join(here, name) for name in sorted(external)]
    for name in sorted(virtual):
        beside = os.path.join(os.path.dirname(path), name)
        found.append(beside if os.path.exists(beside) else os.path.join(here, name))
    return found


def _locking(file: Any) -> bool | Literal["best-effort"]:
    """Return the locks that a file was opened with: on a disk that has none it can be opened only without them."""
    uses, may_fail = file.id.get_access_plist().get_file_locking()
    return "best-effort" if uses and may_fail else bool(uses)


def _obstacle(dataset: Any, is_written: bool) -> str:
    """Return the reason why other processes cannot open a dataset; "" if they can."""
    file = dataset.file
    if file.driver not in _DRIVERS:
        return (
            f"its file was opened by the driver {file.driver!r}, as one in memory or within another file; save it "
            f"under a path, or give its values, dataset[:]"
        )
    if dataset.name is None:
        return "it has no name in its file"
    if file.get(dataset.name) != dataset:
        return f"it was reached by a link to another file, {file.filename}, and has another name there: open that file"
    if is_written and not file.swmr_mode:
        return f'the file is open for writing (mode {file.mode!r}), and HDF5 lets nobody else in: open it with mode="r"'
    return ""


def _locked(path: str) -> str:
    return (
        f"{path} is locked by HDF5: a process has it open for writing, or was forked from one that had, and must close "
        f"it first (`lsof {path}` names it)"
    )


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a dataset; None of other objects. Raises `ConfigError` for a file or a group."""
    if isinstance(found, h5py.Dataset):
        return DatasetArray(found)
    if isinstance(found, h5py.Group):
        keys = _keys(found) if found else []
        raise ConfigError(f"an h5py {type(found).__name__} has datasets, {keys[:20]}: give one of them, file[name]")
    return None


def _keys(group: Any) -> list[str]:
    found: list[str] = []
    group.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
    return found


def open_path(path: str, key: str | None) -> Any:
    """Return the dataset of a file that has only one, or the one named `key`; the file is open for reading."""
    try:
        file = h5py.File(os.path.abspath(path), "r")
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, _locked(path)) from None
    except FileNotFoundError:
        raise ConfigError(f"open({path!r}): there is no such file") from None
    except OSError as error:
        raise ConfigError(f"open({path!r}): {error}") from error
    try:
        named = file.get(key) if isinstance(key, str) else None  # also a link, which is none of the file's own keys
        if isinstance(named, h5py.Dataset):
            return named
        return file[chosen_key(path, key, _keys(file))]
    except BaseException:
        file.close()
        raise


class NewHDF5(NewFile):
    """A file with one dataset, which this process writes."""

    writers = "one"
    _file: Any = None
    _made: DatasetArray

    def __init__(self, path: str, key: str, compression: Any) -> None:
        super().__init__(path, key)
        self._compression = compression
        try:  # what h5py does not know is told before anything is written
            with h5py.File("x", "w", driver="core", backing_store=False) as file:
                file.create_dataset("x", (1,), "u1", compression=compression)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.path}: compression={compression!r}: {error}") from error

    def create(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> FileArray:
        check_free(self.path, _SLACK_BYTES)
        self._file = h5py.File(self.part, "x")
        grows = not shape[0]
        if not grows:
            chunks = tuple(map(min, chunks, shape))  # h5py's rule
        maximum = (None, *shape[1:]) if grows else None
        try:
            made = self._file.create_dataset(
                self.key,
                shape,
                dtype,
                chunks=chunks if all(chunks) else None,
                maxshape=maximum,
                compression=self._compression if all(chunks) else None,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.path}: an HDF5 file cannot hold {dtype}: {error}") from error
        self._made = DatasetArray(made)
        return self._made

    def grow(self, rows: int) -> None:
        self._made.grow(rows)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def open(self) -> Any:
        return h5py.File(self.path, "r")[self.key]


def new_file(path: str, key: str | None, compression: Any) -> NewFile:
    """Return a new file; without a key the dataset is named "data"."""
    name = "data" if key is None else key.strip("/") if isinstance(key, str) else ""
    if not name:
        raise ConfigError(f"{path}: key={key!r} is no name of a dataset")
    return NewHDF5(path, name, compression)
