"""The table of a writer, and the work of its writing process.

      BEGIN -> is the batch's number in the file?  no: insert its rows, then its number -> COMMIT

The number is committed with the rows, so a batch that is done again after a kill is written once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from pardata.errors import ConfigError
from pardata.lookup.disk_errors import as_os_errors
from pardata.lookup.loading import create_table, loosen_columns, quoted
from pardata.lookup.rows import Column

_BATCHES: Final = "pardata_batches"
_SCHEMA: Final = f"CREATE TABLE IF NOT EXISTS {_BATCHES} (writer TEXT, batch INTEGER, PRIMARY KEY (writer, batch))"


class WriteTarget(NamedTuple):
    """The table that a writer fills; `writer` tells it from all other writers of the file."""

    path: str
    table: str
    columns: tuple[str, ...]
    key: str | None
    writer: str


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")  # readers go on while a batch is written
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(target: WriteTarget) -> None:
    """Create the table, or check that it has these columns and this key; raise `ConfigError` if not."""
    try:
        with as_os_errors(target.path):
            _prepare_table(target)
    except sqlite3.Error as error:
        raise ConfigError(f"{target.path} cannot be written as a database: {error}") from error


def _prepare_table(target: WriteTarget) -> None:
    connection = _connect(target.path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        found = [row[1] for row in connection.execute(f"PRAGMA table_info({quoted(target.table)})")]
        if not found:
            order = [target.key, *(name for name in target.columns if name != target.key)]
            columns = [Column(name) for name in order if name is not None]
            create_table(connection, target.table, columns, keyed=target.key is not None)
        elif set(found) != set(target.columns):
            raise ConfigError(f"{target.path}: the table {target.table!r} has the columns {found}")
        else:
            _check_key(connection, target)
            loosen_columns(connection, target.table)
        connection.execute("COMMIT")
    finally:
        connection.close()


def remove(path: str) -> None:
    """Remove a database, and the files of SQLite beside it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(OSError):
            os.unlink(f"{path}{suffix}")


def _check_key(connection: sqlite3.Connection, target: WriteTarget) -> None:
    """Refuse a key that is not unique in an existing table: a row would be added where it is to replace another."""
    table = quoted(target.table)
    unique = [[row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]]
    for index in connection.execute(f"PRAGMA index_list({table})").fetchall():
        if index[2] and not index[4]:
            unique.append([row[2] for row in connection.execute(f"PRAGMA index_info({quoted(index[1])})")])
    if target.key is not None and [target.key] not in unique:
        raise ConfigError(f"{target.path}: in the table {target.table!r} rows of one {target.key!r} may be there twice")


_open: dict[str, sqlite3.Connection] = {}


def _connection(target: WriteTarget) -> sqlite3.Connection:
    if target.path not in _open:
        _open[target.path] = _connect(target.path)
    return _open[target.path]


def write(target: WriteTarget, number: int, oldest: int, rows: Iterable[Sequence[Any]]) -> int:
    """Write a batch, unless a killed process has; remove the numbers of batches before `oldest`.

    Batches from `oldest` on may still be done again. Runs in the writing process.
    """
    with as_os_errors(target.path):
        return _write_batch(_connection(target), target, number, oldest, rows)


def _write_batch(
    connection: sqlite3.Connection, target: WriteTarget, number: int, oldest: int, rows: Iterable[Sequence[Any]]
) -> int:
    count = 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        given = (target.writer, number)
        rows = list(rows)
        count = len(rows)
        if connection.execute(f"SELECT 1 FROM {_BATCHES} WHERE writer = ? AND batch = ?", given).fetchone() is None:
            names = ", ".join(map(quoted, target.columns))
            marks = ", ".join("?" * len(target.columns))
            connection.executemany(
                f"INSERT OR REPLACE INTO {quoted(target.table)} ({names}) VALUES ({marks})"
                if target.key is not None
                else f"INSERT INTO {quoted(target.table)} ({names}) VALUES ({marks})",
                rows,
            )
            connection.execute(f"DELETE FROM {_BATCHES} WHERE writer = ? AND batch < ?", (target.writer, oldest))
            connection.execute(f"INSERT INTO {_BATCHES} VALUES (?, ?)", given)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk ends it
            connection.execute("ROLLBACK")
        raise
    return count


def finish(target: WriteTarget) -> None:
    """Remove the numbers of the batches, and move the log of SQLite into the file. Runs in the writing process."""
    with as_os_errors(target.path):
        connection = _open.pop(target.path, None) or _connect(target.path)
        try:
            connection.execute(f"DELETE FROM {_BATCHES} WHERE writer = ?", (target.writer,))
            connection.execute("PRAGMA busy_timeout = 0")  # do not wait for readers: everything is written
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
