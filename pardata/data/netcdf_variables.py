"""Variables of netCDF4 itself: read in parts, by any process, scaled and masked as the variable was told to.

A worker opens the file for each read, as its lock stays until it is closed (`data/hdf5.py`). The library is not made
for threads, so one at a time reads. An array has no mask: a part with masked values is refused. So is a file that is
open for writing: what was written may be in the memory of this process, and the library does not tell its mode.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

import netCDF4
import numpy as np

from pardata.data.file_array import Array, FileArray, Selection, check_same, gone, page_of_rows
from pardata.errors import ConfigError
from pardata.memory.plain import plain_array
from pardata.process.system import module

_lock: Final = threading.Lock()
_DESCRIPTORS: Final = "/proc/self/fd"

fcntl: Any = module("fcntl")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep all other threads out of the library: also those in xarray, which has a lock of its own for it."""
    lock = getattr(sys.modules.get("xarray.backends.netCDF4_"), "NETCDF4_PYTHON_LOCK", None)
    with _lock, lock or contextlib.nullcontext():
        yield


class NetCDFVariable(FileArray):
    """A variable: opened again by the path of the file and its name there."""

    way_to_write = "pardata writes no NetCDF files"

    def __init__(self, variable: Any) -> None:
        with _alone():
            self._take(variable)

    def _take(self, variable: Any) -> None:
        group = variable.group()
        root = group
        while root.parent is not None:
            root = root.parent
        if not root.isopen():
            raise ConfigError("the netCDF4 variable is of a file that was closed: open it again")
        self._path: str = os.path.realpath(root.filepath())
        self._key = f"{group.path.rstrip('/')}/{variable.name}"
        if variable.chartostring and variable.dtype == "S1" and "_Encoding" in variable.ncattrs():
            raise ConfigError(
                f"netCDF4 joins the characters of {variable.name!r} to texts, which have other axes than the variable: "
                f"variable.set_auto_chartostring(False) leaves them, or give its values, variable[:]"
            )
        self._options = {
            "set_auto_mask": variable.mask,
            "set_auto_scale": variable.scale,
            "set_auto_chartostring": variable.chartostring,
        }
        self._variable: Any = variable
        shape, dtype = _found(variable)
        chunks = variable.chunking()
        pages = tuple(chunks) if isinstance(chunks, list) else page_of_rows(shape, dtype)
        super().__init__(f"{self._path}:{self._key}", shape, dtype, pages, pages, "none", _obstacle(self._path))

    def read_into(self, selection: Selection, out: Array) -> None:
        with _alone():
            if self._variable is not None:
                self._read(self._variable, selection, out)
                return
            try:
                file = netCDF4.Dataset(self._path, "r")
            except OSError as error:
                raise gone(self.location, error) from error
            with file:
                try:
                    variable = file[self._key]
                except IndexError as error:
                    raise gone(self.location, error) from error
                for name, value in self._options.items():
                    getattr(variable, name)(value)
                check_same(self, *_found(variable))
                self._read(variable, selection, out)

    def _read(self, variable: Any, selection: Selection, out: Array) -> None:
        out[...] = plain_array(variable[selection], f"{self.location} holds")

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_variable": None}


def _found(variable: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape, and the dtype of the values, which may be scaled: that of a part without any."""
    shape = tuple(map(int, variable.shape))
    part = variable[(slice(0, 0),) * len(shape)] if shape else variable[...]
    return shape, np.asarray(part).dtype


def _obstacle(path: str) -> str:
    """Return the reason why other processes cannot read what this one has; "" if they can."""
    modes = list(_modes(path)) if os.path.isfile(path) else []
    if not modes:
        return "it is in no file, or in the memory of this process (diskless=True); give its values, variable[:]"
    if set(modes) != {os.O_RDONLY}:
        return 'the file is open for writing, and what was written may not be in it yet: close it, and open it with "r"'
    return ""


def _modes(path: str) -> Iterator[int]:
    """Yield how this process has a file open, for each descriptor."""
    found = os.stat(path)
    try:
        descriptors = list(map(int, os.listdir(_DESCRIPTORS)))
    except OSError:  # no system with worker processes
        yield os.O_RDONLY
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # that of the list itself is closed
            if os.path.samestat(os.fstat(descriptor), found):
                yield fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of a variable; None of other objects. Raises `ConfigError` for a file or a group."""
    if isinstance(found, netCDF4.Variable):
        return NetCDFVariable(found)
    if isinstance(found, netCDF4.Dataset):
        raise ConfigError(f"a netCDF4 {type(found).__name__} has variables, {list(found.variables)}: give one of them")
    return None
