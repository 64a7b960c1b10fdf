"""Small files of each format that has an adapter, made by its own library."""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

SHAPE, CHUNKS, SHARDS = (50, 6, 4), (7, 4, 4), (14, 8, 4)  # chunks do not end where the array does


@dataclass(frozen=True)
class Kind:
    """A format, with options of its library for a new array."""

    name: str
    library: str
    ending: str
    options: dict[str, Any]

    def __str__(self):
        return self.name

    def create(self, path, shape=SHAPE, dtype="f4", **options):
        """Return a new array at a path, open for writing."""
        given = {**self.options, **options}
        if self.library == "zarr":
            import zarr

            return zarr.create_array(str(path), shape=shape, dtype=dtype, **given)
        import h5py

        return h5py.File(path, "w").create_dataset("data", shape, dtype, **given)

    def save(self, path, values, **options):
        """Return an array with these values, opened for reading."""
        made = self.create(path, values.shape, values.dtype, **options)
        made[...] = values
        self.close(made)
        return self.read(path)

    def read(self, path):
        """Return the array at a path, opened for reading by its library."""
        if self.library == "zarr":
            import zarr

            return zarr.open_array(str(path), mode="r")
        import h5py

        return h5py.File(path, "r")["data"]

    def close(self, array):
        """Have everything written."""
        if self.library == "h5py":
            array.file.close()


KINDS = [
    Kind("zarr", "zarr", ".zarr", {"chunks": CHUNKS}),
    Kind("zarr 2", "zarr", ".zarr", {"chunks": CHUNKS, "zarr_format": 2}),
    Kind("zarr shards", "zarr", ".zarr", {"chunks": CHUNKS, "shards": SHARDS}),
    Kind("hdf5", "h5py", ".h5", {"chunks": CHUNKS}),
    Kind("hdf5 gzip", "h5py", ".h5", {"chunks": CHUNKS, "compression": "gzip", "shuffle": True}),
    Kind("hdf5 contiguous", "h5py", ".h5", {}),
]


def each_kind(*, library=None):
    """Return the parameters of a test over the formats whose library is installed."""
    return [
        pytest.param(kind, id=kind.name, marks=pytest.mark.skipif(not is_there(kind.library), reason="not installed"))
        for kind in KINDS
        if library in (None, kind.library)
    ]


def is_there(library):
    return importlib.util.find_spec(library) is not None


def values_of(shape=SHAPE, dtype="f4"):
    """Return values that tell where they are."""
    return np.arange(1, 1 + np.prod(shape, dtype=int)).reshape(shape).astype(dtype)


LIBRARIES = {".zarr": "zarr", ".h5": "h5py"}


def warm_up():
    """Start what the libraries start once in a process: zarr a thread with an event loop."""
    if is_there("zarr"):
        import zarr

        zarr.create_array(zarr.storage.MemoryStore(), shape=(1,), dtype="f4")
