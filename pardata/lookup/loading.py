"""Write rows into a new SQLite file, and put it where another one was."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.rows import Column, Rows

META: Final = "pardata_columns"  # a table with the dtypes of columns, for which SQLite has no types


def quoted(name: object) -> str:
    """Return a name for use in SQL."""
    return '"' + str(name).replace('"', '""') + '"'


def _declared(column: Column) -> str:
    kind = np.dtype(column.dtype).kind if column.dtype and not column.packed else ""
    return {"i": "INTEGER", "u": "INTEGER", "b": "INTEGER", "f": "REAL", "U": "TEXT"}.get(kind, "")


def create_table(connection: sqlite3.Connection, table: str, columns: Sequence[Column], keyed: bool) -> None:
    """Create a table and note the dtypes of its columns; if it is `keyed`, the first column is the key."""
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
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:  # not a wrong name, but the disk or another writer
            raise
        raise ConfigError(f"the table {table!r} cannot be made: {error}") from error
    note_columns(connection, table, columns, False)


def note_columns(connection: sqlite3.Connection, table: str, columns: Sequence[Column], unnamed: bool) -> None:
    """Note how the columns of a table are to be decoded."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {META} (name TEXT PRIMARY KEY, columns TEXT)")
    text = json.dumps({"unnamed": unnamed, "columns": columns})
    connection.execute(f"INSERT OR REPLACE INTO {META} VALUES (?, ?)", (table, text))


def loosen_columns(connection: sqlite3.Connection, table: str) -> None:
    """Remove the noted dtypes of the columns of a table, before values of other types are written into it."""
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
        connection.execute("PRAGMA journal_mode = OFF")  # after a kill the unfinished file is thrown away
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        first, given = _with_key_type(rows)
        create_table(connection, table, first, keyed=True)
        note_columns(connection, table, first, rows.unnamed)
        marks = ", ".join("?" * len(first))
        connection.executemany(f"INSERT INTO {quoted(table)} VALUES ({marks})", given)
        connection.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise ConfigError(f"a key occurs more than once, or is missing: {error}") from error
    except (sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError) as error:
        raise ConfigError(
            f"a database keeps numbers of 64 bits, texts, bytes and arrays; a value is of another type or size: {error}"
        ) from error
    finally:
        connection.close()


def leftovers(path: str) -> list[str]:
    """Return the files beside a database that hold changes which SQLite has not moved into it yet."""
    names = [f"{path}{suffix}" for suffix in ("-wal", "-journal")]
    return [name for name in names if os.path.exists(name) and os.path.getsize(name)]


def clear_journal(path: str) -> None:
    """Leave no log or journal beside a database that is about to be replaced: SQLite would apply it to the new file.

    Raises `ConfigError` if another process has the database open for writing.
    """
    if any(os.path.exists(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")):
        try:
            connection = sqlite3.connect(path, isolation_level=None)
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # recovers changes after a kill
            finally:
                connection.close()  # the last connection to close moves the changes into the file
        except sqlite3.Error as error:
            raise ConfigError(f"{path} cannot be replaced: {error}") from error
        if os.path.exists(f"{path}-wal"):
            raise ConfigError(
                f"{path} cannot be replaced while others that write to it, or read meanwhile, have it open"
            )


def _with_key_type(rows: Rows) -> tuple[list[Column], Iterable[tuple[Any, ...]]]:
    """Declare the key column as INTEGER, which makes it the rowid, if the first key is an int and no dtype is known."""
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
            raise ConfigError(f"row {number} has no key: it is None")
        yield row
