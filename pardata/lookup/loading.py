"""From what a user has to the rows of an SQLite table."""

from __future__ import annotations

import csv
import itertools
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array, array_of
from pardata.lookup.columns import as_array
from pardata.lookup.keys import times_hint
from pardata.lookup.table import split_columns

META: Final = "pardata_columns"  # what SQLite's types do not say about the columns of our tables
_ROWS_AT_ONCE: Final = 4096


class Column(NamedTuple):
    """How a column is kept.

    Parameters
    ----------
    dtype : str
        NumPy's, of the array that it was; "" for any mixture of numbers, texts and bytes.
    shape : tuple of int
        Of one value, where that is an array.
    packed : bool
        Values are kept as the bytes of their array.
    """

    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    packed: bool = False

    def one(self) -> Callable[[Any], Any]:
        """Return the function that decodes a value."""
        kind = np.dtype(self.dtype).kind if self.dtype else ""
        if self.packed:
            return self._unpacked(np.dtype(self.dtype), kind)
        if kind == "b":
            return bool
        if kind == "f":
            return lambda value: np.nan if value is None else value
        return lambda value: value

    def _unpacked(self, dtype: np.dtype[Any], kind: str) -> Callable[[Any], Any]:
        """Return the function that decodes the bytes of an array, to what `ArrayColumn.get` gives."""
        if self.shape:
            return lambda value: np.frombuffer(value, dtype).reshape(self.shape)
        if kind == "V":
            return bytes
        if kind in "mM":
            return lambda value: np.frombuffer(value, dtype)[0]
        return lambda value: np.frombuffer(value, dtype).item()

    def many(self, values: Sequence[Any]) -> Array:
        """Return the array of many values."""
        if self.packed:
            return np.frombuffer(b"".join(values), self.dtype).reshape(len(values), *self.shape)
        return np.array(values, self.dtype) if self.dtype else array_of(list(values))


def quoted(name: object) -> str:
    """Return a name for use in SQL."""
    return '"' + str(name).replace('"', '""') + '"'


def _array_rows(array: Array, packed: bool) -> Iterator[Any]:
    """Yield the values of a column as SQLite takes them."""
    for begin in range(0, len(array), _ROWS_AT_ONCE):
        part = array[begin : begin + _ROWS_AT_ONCE]
        if packed:
            yield from (row.tobytes() for row in part)
        else:
            yield from part.tolist()


def _column(name: str, made: Array | list[Any]) -> tuple[Column, Iterable[Any]]:
    """Return how a column is kept, and its values as SQLite takes them."""
    if isinstance(made, list):
        if any(isinstance(value, np.ndarray) for value in made):
            raise ConfigError(
                f"column {name!r} holds arrays that are not of one shape and dtype: a database keeps none"
            )
        return Column(name), made
    if made.dtype.names is not None:
        raise ConfigError(f"column {name!r} holds records: give their fields as columns")
    packed = made.ndim > 1 or made.dtype.kind not in "biufSU"
    return Column(name, made.dtype.str, made.shape[1:], packed), _array_rows(made, packed)


def _numbers(text: str) -> int | float | str | None:
    """Return what a cell of a CSV file says: 007 is a text, an empty cell is nothing."""
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
    unnamed: bool = False  # a column of values that has no name


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
        raise ConfigError(f"a row is a dict or a sequence of values, not {row!r}")
    if isinstance(row, Mapping):
        if row.keys() != set(names):
            raise ConfigError(f"a row has the columns {sorted(row)} where {sorted(names)} are expected")
        values = [row[name] for name in names]
    else:
        values = list(row)
        if len(values) != len(names):
            raise ConfigError(f"a row has {len(values)} values where there are {len(names)} columns")
    check_no_arrays(values)
    return tuple(value.item() if isinstance(value := values[i], np.generic) else value for i in order)


def check_no_arrays(values: Iterable[Any]) -> None:
    """Raise `ConfigError` for an array among values, which SQLite would take for bytes."""
    if any(isinstance(value, np.ndarray) for value in values):
        raise ConfigError(
            "a row holds an array: only `Database.create` keeps arrays, if whole columns of them are given"
        )


def rows_of(data: Any, values: Any, key: str | None, columns: Sequence[str] | None) -> Rows:
    """Return the rows of whatever the user has given."""
    if isinstance(columns, str):
        raise ConfigError(f"columns must be a sequence of names, not {columns!r}")
    if isinstance(data, str | os.PathLike):
        try:
            return _from_csv(os.fspath(data), key)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ConfigError(f"{os.fspath(data)} cannot be read as a CSV file in UTF-8: {error}") from error
    is_table = isinstance(data, Mapping | np.ndarray) or hasattr(data, "to_numpy")
    if values is None and not is_table:
        return _from_rows(data, key, columns)
    keys, given = split_columns(data, values, key)
    arrays = {key or "key": as_array(keys)}
    arrays |= {"value" if name is None else str(name): as_array(column) for name, column in given.items()}
    if len(arrays) <= len(given):
        raise ConfigError(f"the column {key or 'key'!r} of the keys must not be one of the values as well")
    lengths = {name: len(column) for name, column in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"there must be one value per key in every column, but there are {lengths}")
    made = [_column(name, column) for name, column in arrays.items()]
    if made[0][0].packed:
        raise ConfigError(f"keys must be numbers, texts or bytes{times_hint(next(iter(arrays.values())))}")
    return Rows([column for column, _ in made], zip(*(cells for _, cells in made), strict=True), None in given)


def _declared(column: Column) -> str:
    kind = np.dtype(column.dtype).kind if column.dtype and not column.packed else ""
    return {"i": "INTEGER", "u": "INTEGER", "b": "INTEGER", "f": "REAL", "U": "TEXT"}.get(kind, "")


def create_table(connection: sqlite3.Connection, table: str, columns: Sequence[Column], keyed: bool) -> None:
    """Create a table and note what SQLite's types do not say; the first column is the key if it is `keyed`."""
    names = [column.name.lower() for column in columns]  # SQLite takes A and a for the same
    if len(set(names)) < len(names):
        raise ConfigError(f"two columns have the same name: {[column.name for column in columns]}")
    declared = [f"{quoted(column.name)} {_declared(column)}".strip() for column in columns]
    tail = ""
    if keyed:
        declared[0] += " PRIMARY KEY"
        if not declared[0].endswith("INTEGER PRIMARY KEY"):
            declared[0] += " NOT NULL"
            tail = " WITHOUT ROWID"
    try:
        connection.execute(f"CREATE TABLE {quoted(table)} ({', '.join(declared)}){tail}")
    except sqlite3.OperationalError as error:
        raise ConfigError(f"the table {table!r} cannot be made: {error}") from error
    note_columns(connection, table, columns, False)


def note_columns(connection: sqlite3.Connection, table: str, columns: Sequence[Column], unnamed: bool) -> None:
    """Keep how the columns of a table are to be read."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {META} (name TEXT PRIMARY KEY, columns TEXT)")
    text = json.dumps({"unnamed": unnamed, "columns": columns})
    connection.execute(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table, text))


def loosen_columns(connection: sqlite3.Connection, table: str) -> None:
    """Forget the dtypes of the columns of a table, if it has any noted: other values are about to come into it."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (META,)).fetchone() is None:
        return
    noted = connection.execute(f"SELECT columns FROM {META} WHERE name = ?", (table,)).fetchone()
    if noted is not None:
        said = json.loads(noted[0])
        columns = [Column(*column) for column in said["columns"]]
        loose = [column if column.packed or column.dtype == "|b1" else Column(column.name) for column in columns]
        note_columns(connection, table, loose, said["unnamed"])


def load(path: str, table: str, rows: Rows) -> None:
    """Write a new database file with one table."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = OFF")  # the file has no name yet: after a kill it is thrown away
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        first, given = _with_key_type(rows)
        create_table(connection, table, first, keyed=True)
        note_columns(connection, table, first, rows.unnamed)
        marks = ", ".join("?" * len(first))
        connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", given)
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise ConfigError(f"a key occurs more than once, or is nothing: {error}") from error
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError) as error:
        raise ConfigError(
            f"a database keeps numbers of 64 bits, texts, bytes and arrays; one of the values is none: {error}"
        ) from error
    finally:
        connection.close()


def leftovers(path: str) -> list[str]:
    """Return the files beside a database that hold changes which are not in it yet."""
    names = [f"{path}{suffix}" for suffix in ("-wal", "-journal")]
    return [name for name in names if os.path.exists(name) and os.path.getsize(name)]


def settle(path: str) -> None:
    """Have nothing beside a database that is about to be replaced: SQLite would apply it to the new file.

    Raises `ConfigError` if another process has it open for writing.
    """
    if any(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")):
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # recovers what a kill has left
            finally:
                connection.close()  # the last one to close puts the changes into the file
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be replaced: {error}") from error
        if os.path.exists(f"{path}-wal"):
            raise ConfigError(
                f"{path} cannot be replaced while others that write to it, or read meanwhile, have it open"
            )


def _with_key_type(rows: Rows) -> tuple[list[Column], Iterable[tuple[Any, ...]]]:
    """Have a key column of integers declared as such, where its type is not known beforehand: it is then the rowid."""
    key = rows.columns[0]
    given = iter(rows.rows)
    first = next(given, None)
    if first is None:
        return rows.columns, []
    if not key.dtype and type(first[0]) is int:
        key = key._replace(dtype="<i8")
    return [key, *rows.columns[1:]], _with_keys(itertools.chain([first], given))


def _with_keys(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Yield rows; raise `ConfigError` for one without a key, which SQLite would number itself."""
    for number, row in enumerate(rows):
        if row[0] is None:
            raise ConfigError(f"row {number} has no key: it is nothing")
        yield row
