"""Convert the data of a user to the columns and rows of a table in a database."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array, array_of
from pardata.lookup.columns import as_column, split_columns
from pardata.lookup.keys import keys_of, times_hint
from pardata.memory.dtypes import descr_of, dtype_of, is_registered
from pardata.memory.foreign import Read, is_frame
from pardata.memory.plain import objects

_ROWS_AT_ONCE: Final = 4096
_CELLS: Final = {int, float, bool, str, bytes, bytearray, memoryview, type(None)}  # SQLite stores these unchanged


class Column(NamedTuple):
    """A column and the encoding of its values.

    Parameters
    ----------
    dtype : str
        Dtype of the given array, as returned by `descr_of`; "" for any mixture of numbers, texts and bytes.
    shape : tuple of int
        Shape of one value; () unless that is an array.
    packed : bool
        Each value is stored as the bytes of its array.
    """

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    packed: bool = False

    def one(self) -> Callable[[Any], Any]:
        """Return the function that decodes a value."""
        if self.packed:
            return self._unpacked(dtype_of(self.dtype))
        kind = np.dtype(self.dtype).kind if self.dtype else ""
        if kind == "b":
            return lambda value: None if value is None else bool(value)
        if kind == "f":
            return lambda value: np.nan if value is None else value
        return lambda value: value

    def _unpacked(self, dtype: np.dtype[Any]) -> Callable[[Any], Any]:
        """Return the function that decodes the bytes of an array to the value that `ArrayColumn.get` returns."""
        if self.shape:
            return lambda value: np.frombuffer(value, dtype).reshape(self.shape)
        if dtype.kind == "V" and not is_registered(dtype):
            return bytes
        if dtype.kind in "mM":
            return lambda value: np.frombuffer(value, dtype)[0]
        return lambda value: np.frombuffer(value, dtype).item()

    def many(self, values: Sequence[Any]) -> Array:
        """Return the array of many values."""
        if self.packed:
            return np.frombuffer(b"".join(values), dtype_of(self.dtype)).reshape(len(values), *self.shape)
        if not self.dtype:
            return array_of(list(values))
        # NumPy converts None to NaN, but also to False, and to the text "None".
        if np.dtype(self.dtype).kind in "bSU" and None in values:
            return objects(list(map(self.one(), values)))
        try:
            return np.array(values, self.dtype)
        except TypeError:  # None among integers
            return objects(list(values))


def _array_rows(array: Array, packed: bool) -> Iterator[Any]:
    """Yield the values of a column as parameters for SQLite."""
    for begin in range(0, len(array), _ROWS_AT_ONCE):
        part = array[begin : begin + _ROWS_AT_ONCE]
        if packed:
            yield from (row.tobytes() for row in part)
        else:
            yield from part.tolist()


def _column(name: str, read: Read) -> tuple[Column, Iterable[Any]]:
    """Return a column, and its values as parameters for SQLite."""
    made = read.values
    if isinstance(made, list):
        if any(isinstance(value, np.ndarray) for value in made):
            raise ConfigError(
                f"column {name!r} holds arrays that are not of one shape and dtype: a database keeps none"
            )
        return Column(name), cells_of(made)
    if made.dtype.names is not None:
        raise ConfigError(f"column {name!r} holds records: give their fields as columns")
    packed = made.ndim > 1 or made.dtype.kind not in "biufSU" or is_registered(made.dtype)
    column = Column(name, descr_of(made.dtype, "a database"), made.shape[1:], packed)
    return column, _array_rows(made, packed) if read.missing is None else read.as_list()


def _numbers(text: str) -> int | float | str | None:
    """Return the value of a cell of a CSV file: 007 is a text, an empty cell is None."""
    if not text:
        return None
    try:
        number = int(text)
        return number if str(number) == text else text
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


class Rows(NamedTuple):
    """Columns and the rows to load into them; the key is the first column."""

    columns: list[Column]
    rows: Iterable[tuple[Any, ...]]
    unnamed: bool = False  # the column of values has no name


def _from_csv(path: str, key: str | None) -> Rows:
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        names = next(reader, None)
        if not names:
            raise ConfigError(f"{path}: there is no line with the names of the columns")
        kinds: list[set[type]] = [set() for _ in names]
        for number, row in enumerate(reader, 2):
            if len(row) != len(names):
                raise ConfigError(f"{path}, row {number}: {len(row)} cells where there are {len(names)} columns")
            for kind, cell in zip(kinds, row, strict=True):
                kind.add(type(_numbers(cell)))
    converters = [str if str in kind else float if float in kind else int for kind in kinds]
    dtypes = [
        "<f8" if kind <= {float, int, type(None)} and float in kind else "<i8" if kind == {int} else ""
        for kind in kinds
    ]
    order = _key_first(names, key)

    def rows() -> Iterator[tuple[Any, ...]]:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            next(reader)
            for row in reader:
                yield tuple(None if row[i] == "" else converters[i](row[i]) for i in order)

    return Rows([Column(names[i], dtypes[i]) for i in order], rows())


def _key_first(names: Sequence[str], key: str | None) -> list[int]:
    if key not in names:
        raise ConfigError(f"key= must name the column of the keys, one of {list(names)}, not {key!r}")
    first = [*names].index(str(key))
    return [first, *(i for i in range(len(names)) if i != first)]


def _from_rows(data: Iterable[Any], key: str | None, columns: Sequence[str] | None) -> Rows:
    if not isinstance(data, Iterable):
        raise ConfigError(f"a database is made of a dict, arrays, rows or a CSV file, not of {data!r}")
    rows = iter(data)
    first = next(rows, None)
    if columns is None:
        if not isinstance(first, Mapping):
            raise ConfigError("rows that are not dicts need columns=: the names of their columns")
        columns = list(first)
    names = list(columns)
    order = _key_first(names, key)
    given = rows if first is None else itertools.chain([first], rows)
    return Rows([Column(names[i]) for i in order], (tuple_of(row, names, order) for row in given))


def tuple_of(row: Any, names: Sequence[str], order: Sequence[int]) -> tuple[Any, ...]:
    """Return the values of a row, a dict or a sequence, in `order` of the columns."""
    if isinstance(row, str | bytes) or not isinstance(row, Iterable):
        raise ConfigError(f"a row is a dict or a sequence of values, not {row!r} (a single row is given as [row])")
    if isinstance(row, Mapping):
        if row.keys() != set(names):
            raise ConfigError(f"a row has the columns {sorted(row)} where {sorted(names)} are expected")
        values = [row[name] for name in names]
    else:
        values = list(row)
        if len(values) != len(names):
            raise ConfigError(f"a row has {len(values)} values where there are {len(names)} columns")
    cells = cells_of(values)
    return tuple(cells[i] for i in order)


def cells_of(values: list[Any]) -> list[Any]:
    """Return values as parameters for SQLite.

    Raises `ConfigError` for a value that SQLite would convert (a time to a text) or take for bytes (an array).
    """
    return values if set(map(type, values)) <= _CELLS else list(map(_cell, values))


def _cell(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        raise ConfigError(
            "a row holds an array: only `Database.create` keeps arrays, if whole columns of them are given"
        )
    if isinstance(value, np.generic) and value.dtype.kind in "biufSU" and not is_registered(value.dtype):
        value = value.item()
    if type(value).__name__ == "NAType":  # pandas.NA
        return None
    if not isinstance(value, tuple(_CELLS)):
        raise ConfigError(
            f"a database keeps numbers of 64 bits, texts, bytes and columns of arrays; {value!r} of type "
            f"{type(value).__name__} cannot be kept"
        )
    return value


def rows_of(data: Any, values: Any, key: str | None, columns: Sequence[str] | None) -> Rows:
    """Return the columns and rows of the data that a user has given to `Database.create`."""
    if isinstance(columns, str):
        raise ConfigError(f"columns must be a sequence of names, not {columns!r}")
    if isinstance(data, str | os.PathLike):
        try:
            return _from_csv(os.fspath(data), key)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{os.fspath(data)} cannot be read as a CSV file in UTF-8: {error}") from error
    is_table = isinstance(data, Mapping | np.ndarray) or hasattr(data, "to_numpy") or is_frame(data)
    if values is None and not is_table:
        return _from_rows(data, key, columns)
    keys, given = split_columns(data, values, key)
    arrays = {key or "key": Read(keys_of(keys))}
    arrays |= {"value" if name is None else str(name): as_column(column) for name, column in given.items()}
    if len(arrays) <= len(given):
        raise ConfigError(f"the column {key or 'key'!r} of the keys must not be one of the values as well")
    lengths = {name: len(column.values) for name, column in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"there must be one value per key in every column, but there are {lengths}")
    made = [_column(name, column) for name, column in arrays.items()]
    if made[0][0].packed:
        raise ConfigError(f"keys must be numbers, texts or bytes{times_hint(next(iter(arrays.values())).values)}")
    return Rows([column for column, _ in made], zip(*(cells for _, cells in made), strict=True), None in given)
