"""The columns of a table: arrays, or a heap of bytes from which a look-up decodes its value."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.files.pickling import dumps
from pardata.lookup.base import Array
from pardata.memory.foreign import Read, columns_of, is_frame, read_values
from pardata.memory.plain import numbers_of, objects

Given = dict[str | None, Any]  # columns by name, as a user has given them


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


CODECS: Final[dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]] = {
    "text": (_text, _as_text),
    "bytes": (bytes, bytes),
    "pickle": (dumps, pickle.loads),
}


def codec_name(values: Sequence[Any]) -> str:
    """Return the name of the codec that stores these values exactly."""
    if all(type(value) is str for value in values):
        return "text"
    return "bytes" if all(type(value) is bytes for value in values) else "pickle"


def split_columns(data: Any, values: Any, key: str | None) -> tuple[Any, Given]:
    """Return the keys and the columns of the data that a user has given; raise `ConfigError` for other data."""
    if values is not None:
        if key is not None:
            raise ConfigError("a table of keys and values has no key column: leave out key=")
        if isinstance(data, Mapping):
            raise ConfigError("a mapping has its values with it: leave out values=, or give list(data) as the keys")
        return data, _named(values) if isinstance(values, Mapping) or is_frame(values) else {None: values}
    if isinstance(data, Mapping) and key is None:
        return list(data), {None: list(data.values())}
    if isinstance(data, np.ndarray) and data.dtype.names:
        names: tuple[str, ...] = data.dtype.names
        columns: Given = {name: data[name] for name in names}
    elif is_frame(data) or isinstance(data, Mapping):
        columns = _named(data)
        if key is None and hasattr(data, "index"):  # of pandas
            return data.index, columns
    else:
        raise ConfigError(
            f"Table(...) takes a dict, keys and values, a structured array or a DataFrame, not {type(data).__name__}"
        )
    if key not in columns:
        raise ConfigError(f"key= must name the column of the keys, one of {list(columns)}, not {key!r}")
    return columns.pop(key), columns


def _named(values: Any) -> Given:
    """Return the columns of a mapping or of a data frame, by name."""
    return dict(values) if isinstance(values, Mapping) else columns_of(values)


def as_column(values: Any) -> Read:
    """Return a column as an array without objects where that loses nothing, else as a list."""
    if is_frame(values):
        raise ConfigError(f"a column is expected, not a {type(values).__name__}")
    read = read_values(values)
    return read if read.missing is not None else Read(_as_array(read.values))


def _as_array(values: Any) -> Array | list[Any]:
    if isinstance(values, np.ndarray):
        values = numbers_of(values, "a column holds")
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        raise ConfigError(f"keys and values are given as arrays or sequences of them, not as {values!r}")
    if isinstance(values, np.ndarray) and values.ndim == 0:
        raise ConfigError(f"keys and values are given as arrays or sequences of them, not as one value: {values!r}")
    if isinstance(values, np.ndarray) and values.dtype.kind not in "OT":
        return np.asarray(values)
    given: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    kinds = set(map(type, given))
    if kinds == {int}:
        try:
            return np.array(given, np.int64)
        except OverflowError:
            return given
    if len(kinds) == 1 and kinds <= {bool, float, complex}:
        return np.array(given)
    if len(kinds) == 1 and (isinstance(given[0], np.generic) or type(given[0]) is np.ndarray):
        same = len({(value.dtype, value.shape) for value in given}) == 1
        return np.stack(given, dtype=given[0].dtype) if same and not given[0].dtype.hasobject else given
    return given


class ArrayColumn:
    """Rows of an array: numbers, fixed strings, records, or arrays of one shape."""

    def __init__(self, array: Array) -> None:
        self.array = array
        # A value that no Python scalar can stand for is returned as NumPy returns it.
        self.get: Callable[[int], Any] = array.__getitem__
        if array.ndim == 1 and array.dtype.names is None and array.dtype.kind not in "mM":
            self.get = array.item

    def take(self, rows: Any) -> Array:
        """Return the values of many rows: a view for a slice, else a copy."""
        taken: Array = self.array[rows]
        return taken


class GappedColumn:
    """Integers or booleans, some of them missing."""

    def __init__(self, array: Array, missing: Array) -> None:
        self._array = array
        self._missing = missing

    def get(self, row: int) -> Any:
        """Return the value of a row, None if it is missing."""
        return None if self._missing[row] else self._array.item(row)

    def take(self, rows: Any) -> Array:
        """Return the values of many rows; if one is missing, as objects with None in its place."""
        taken: Array = self._array[rows]
        missing = self._missing[rows]
        if not missing.any():
            return taken
        made: Array = taken.astype(object)
        made[missing] = None
        return made


class HeapColumn:
    """Values of any length, one after the other in a heap of bytes.

    Parameters
    ----------
    ends : array of int64, shape (n,)
        Position in `heap` at which each value ends; it begins at the end of the one before it.
    heap : array of uint8, shape (ends[-1],)
    codec : str
        A key of `CODECS`.
    """

    def __init__(self, ends: Array, heap: Array, codec: str) -> None:
        self._ends = ends.data
        self._heap = heap.data
        self._decode = CODECS[codec][1]
        self._count = len(ends)

    def raw(self, row: int) -> bytes:
        """Return the bytes of a row."""
        return bytes(self._heap[self._ends[row - 1] if row else 0 : self._ends[row]])

    def get(self, row: int) -> Any:
        """Return the value of a row."""
        return self._decode(bytes(self._heap[self._ends[row - 1] if row else 0 : self._ends[row]]))

    def take(self, rows: Any) -> Array:
        """Return the values of many rows, as an array of objects."""
        numbers = range(*rows.indices(self._count)) if isinstance(rows, slice) else rows.tolist()
        return objects([self.get(row) for row in numbers])

    def __iter__(self) -> Iterator[Any]:
        return map(self.get, range(self._count))


class HeapDraft:
    """The encoded values of a future `HeapColumn`, before its memory is reserved."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.codec = codec_name(values)
        encode = CODECS[self.codec][0]
        self.parts = [encode(value) for value in values]

    @property
    def nbytes(self) -> int:
        """Size of the heap in bytes."""
        return sum(map(len, self.parts))

    def write(self, ends: Array, heap: Array, order: Array | None) -> None:
        """Write the values in `order` into the memory of a `HeapColumn`."""
        parts = self.parts if order is None else [self.parts[row] for row in order.tolist()]
        np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)), out=ends)
        memory, position = heap.data, 0
        for part in parts:
            memory[position : position + len(part)] = part
            position += len(part)
