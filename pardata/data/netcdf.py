"""Variables of NetCDF files (xarray): an array whose values are still in the file is read in parts, by any process.

Such an array pickles as how to open the file again. xarray would keep the file open, and locked by HDF5; so a worker
opens it for each read, and has closed it when the read is over. xarray has a lock for what its libraries cannot do in
several threads. Arrays of xarray in memory, or of dask, are not for this adapter.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from xarray.core.indexing import ExplicitlyIndexed

from pardata.data.file_array import (
    NETCDF_OF_HDF5,
    Array,
    FileArray,
    Selection,
    check_mark,
    file_mark,
    gone,
    lock_hint,
    page_of_rows,
)
from pardata.data.registry import chosen_key
from pardata.errors import ConfigError, MissingExtraError


class VariableArray(FileArray):
    """A variable: opened again by what xarray has of it."""

    way_to_write = "pardata writes no NetCDF files; xarray does, array.copy(data=result).to_netcdf(path)"

    def __init__(self, found: Any) -> None:
        self._path: str = str(found.encoding.get("source", ""))
        # Another one than the user's: when that is looked at it keeps all values, and they would be sent.
        self._variable: Any = found.variable[(slice(None),) * found.ndim]
        self._sent = b""
        self._mark = file_mark(self._path)
        shape, dtype = tuple(found.shape), np.dtype(found.dtype)
        chunks = found.encoding.get("preferred_chunks")
        pages = page_of_rows(shape, dtype)
        if chunks:
            pages = tuple(max(1, min(chunks.get(name, length), length)) for name, length in found.sizes.items())
        obstacle = "" if self._path else "xarray does not say of which file it is; give its values, array.values"
        super().__init__(f"{self._path}:{found.name}", shape, dtype, pages, pages, "none", obstacle)

    def read_into(self, selection: Selection, out: Array) -> None:
        try:
            check_mark(self.location, self._path, self._mark)
            if self._variable is not None:
                out[...] = self._variable[selection].to_numpy()
                return
            variable = pickle.loads(self._sent)
            try:
                out[...] = variable[selection].to_numpy()
            finally:
                _close(variable)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or error.errno == NETCDF_OF_HDF5:
                raise gone(self.location, error) from error
            raise

    def __getstate__(self) -> dict[str, Any]:
        sent = self._sent if self._variable is None else pickle.dumps(self._variable)
        return {**super().__getstate__(), "_variable": None, "_sent": sent}


def _close(variable: Any) -> None:
    """Close the file of a variable, which lies below what xarray does to its values."""
    data = variable._data
    while hasattr(data, "array"):
        data = data.array
    store = getattr(data, "datastore", None)
    if store is not None:
        store.close()


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a DataArray whose values are in a file; None of others."""
    if isinstance(found, xr.Dataset):
        raise ConfigError(f"a Dataset has variables, {list(found.data_vars)}: give one of them, data[name]")
    if not isinstance(found, xr.DataArray):
        return None
    data = found.variable._data
    if found.variable._in_memory or not isinstance(data, ExplicitlyIndexed):
        return None
    return VariableArray(found)


def with_names(found: Any, values: Any) -> Any:
    """Return a DataArray of values, if they have the shape of another one, with its axes, coordinates and attributes.

    How the other one is encoded in its file does not hold for them: their range may be another.
    """
    if not isinstance(found, xr.DataArray) or values.shape != found.shape:
        return values
    return xr.DataArray(values, found.coords, found.dims, found.name, found.attrs)


@dataclass(frozen=True)
class Labels:
    """The axes, coordinates, name and attributes of a DataArray, for its parts."""

    coordinates: Any  # a Dataset of them alone, in memory
    dims: tuple[Any, ...]
    name: Any
    attrs: dict[Any, Any]

    def __call__(self, selection: Selection, values: Array) -> Any:
        """Return the DataArray of a part."""
        found = self.coordinates.isel(dict(zip(self.dims, selection, strict=True)), missing_dims="ignore")
        return xr.DataArray(values, found.coords, self.dims, self.name, self.attrs)


def labels(found: Any) -> Labels:
    """Return the labels of an array."""
    return Labels(found.coords.to_dataset().compute(), found.dims, found.name, found.attrs)


def open_path(path: str, key: str | None) -> Any:
    """Return the only variable of a file that is no coordinate, or the one named `key`."""
    try:
        dataset = xr.open_dataset(path)
    except OSError as error:
        raise ConfigError(f"open({path!r}): {error}{lock_hint(error)}") from error
    except ValueError as error:
        if "dependencies may not be installed" in str(error):
            raise MissingExtraError(
                f'.nc files need a library that reads them: pip install "pardata[netcdf]" ({error})'
            ) from error
        raise ConfigError(f"open({path!r}): {error}") from error
    try:
        if isinstance(key, str) and key in dataset.variables:  # also a coordinate
            return dataset[key]
        return dataset[chosen_key(path, key, [str(name) for name in dataset.data_vars])]
    except BaseException:
        dataset.close()
        raise
