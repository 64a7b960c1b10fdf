"""Arrays that TensorStore has opened, by any of its drivers: read and written by any process, whole chunks at a time.

An array, also a view of one, is opened again by its spec. Its indices are coordinates, which need not begin at 0; here
they do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import numpy as np
import tensorstore as ts

from pardata.data.file_array import (
    Array,
    FileArray,
    Selection,
    Writers,
    check_same,
    file_age,
    folder_age,
    gone,
    page_of_rows,
)
from pardata.errors import ConfigError

_HERE: Final = ("array", "memory", "virtual_chunked")  # drivers of what is in the memory of a process
_IN_MEMORY: Final = "it is in the memory of this process; write it to a file, or give its values, array.read().result()"
_NO_PLACE: Final = os.strerror(errno.ENOSPC)  # the library's errors have no number


class TensorStoreArray(FileArray):
    """An array: opened again by its spec."""

    of_process: ClassVar[tuple[str, ...]] = ("_store",)
    way_to_write = "tensorstore.open(spec, write=True).result() opens it for writing"

    def __init__(self, store: Any) -> None:
        self._store: Any = _from_zero(store)
        self._spec, location, obstacle = _lasting(store)
        shape, dtype = _found(self._store)
        layout = self._store.chunk_layout
        pages, unit = (_chunk(grid, shape, dtype) for grid in (layout.read_chunk, layout.write_chunk))
        writers: Writers = "none" if not store.writable else "one" if obstacle else "many"
        self._is_written = store.writable
        super().__init__(location, shape, dtype, pages, unit, writers, obstacle)

    def read_into(self, selection: Selection, out: Array) -> None:
        ts.array(out, copy=False, write=True).write(self._opened()[selection]).result()

    def write(self, selection: Selection, values: Array) -> None:
        try:
            self._opened()[selection].write(np.asarray(values, self.dtype)).result()
        except ValueError as error:
            if _NO_PLACE not in str(error):
                raise
            raise OSError(errno.ENOSPC, _NO_PLACE, self.location) from error

    def age(self) -> object:
        """Return the ages of its files; None of what is elsewhere."""
        paths = [part["path"] for part in _parts(self._spec) if part.get("driver") == "file"]
        return [file_age(path) if os.path.isfile(path) else folder_age(path) for path in paths] or None

    def _opened(self) -> Any:
        if self._store is None:
            try:
                found = ts.open(self._spec, open=True, read=True, write=self._is_written).result()
            except (OSError, KeyError, ValueError) as error:
                raise gone(self.location, error) from error
            found = _from_zero(found)
            check_same(self, *_found(found))
            self._store = found
        return self._store

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_store": None}


def _from_zero(store: Any) -> Any:
    """Return a view whose coordinates begin at 0."""
    return store[ts.d[:].translate_to[0]]


def _found(store: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    return tuple(store.shape), np.dtype(store.dtype.numpy_dtype)


def _chunk(grid: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the shape of the chunks; drivers that have none along an axis leave it out."""
    if not grid.shape or None in grid.shape:
        return page_of_rows(shape, dtype)
    return tuple(max(1, min(step or length, length)) for step, length in zip(grid.shape, shape, strict=True))


def _lasting(store: Any) -> tuple[Any, str, str]:
    """Return the spec with which an array is opened again, its name, and the reason why it cannot be."""
    if store.transaction is not None:
        return None, "an array of tensorstore", "it is in a transaction, which others do not see: commit it first"
    try:
        spec = store.spec(minimal_spec=True, unbind_context=True).to_json()
    except NotImplementedError:
        return None, "an array of tensorstore", "it is computed by functions, which have no spec"
    parts = [part for part in _parts(spec) if "driver" in part]
    for part in parts:
        if part["driver"] == "file":
            part["path"] = os.path.realpath(part["path"]) + "/" * part["path"].endswith("/")
    places = [str(part[name]) for part in parts for name in ("base_url", "bucket", "path") if name in part]
    is_here = any(part["driver"] in _HERE for part in parts)
    return spec, f"{spec['driver']}:{','.join(places)}", _IN_MEMORY if is_here else ""


def _parts(spec: Any) -> Iterator[dict[str, Any]]:
    """Yield all dicts in a spec."""
    if isinstance(spec, dict):
        yield spec
        spec = list(spec.values())
    if isinstance(spec, list):
        for part in spec:
            yield from _parts(part)


def adapt(found: Any) -> FileArray | None:
    """Return the `FileArray` of an array; None of other objects. Raises `ConfigError` for what is not opened."""
    if isinstance(found, ts.TensorStore):
        return TensorStoreArray(found)
    if isinstance(found, ts.Spec | ts.Future):
        way = "tensorstore.open(spec).result()" if isinstance(found, ts.Spec) else "future.result()"
        raise ConfigError(f"a {type(found).__name__} of tensorstore is no array yet: give what {way} returns")
    return None
