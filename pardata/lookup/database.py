"""A look-up in an SQLite file: larger than memory, kept, and asked in SQL. Every process has its own connection."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from pardata.errors import ConfigError
from pardata.files.replacing import replacing
from pardata.lookup.base import Array, Columns, Lookup, array_of, unwrapped
from pardata.lookup.connections import Connections
from pardata.lookup.disk_errors import as_os_errors
from pardata.lookup.finding import bound_of, fetch, find
from pardata.lookup.loading import load, quoted, settle
from pardata.lookup.queries import Parameters, Query, map_piece, plain_parameters
from pardata.lookup.rows import rows_of
from pardata.lookup.statements import KEYS_AT_ONCE


class Database(Lookup):
    """A look-up in a table of an SQLite file.

    Parameters
    ----------
    path : path of an existing file
        `create` makes one.
    table : str, optional
        Default: the only one.
    key : str, optional
        The column of the keys; unique, and indexed if look-ups are to be fast. Default: the primary key.
    frozen : bool
        Nobody will change the file any more: it is read without locks, four times as fast. Wrong answers if it is
        changed.

    Raises
    ------
    ConfigError
        There is no such file, table or column, or the file is not a database.
    ChecksumError
        The file is cut off. (SQLite has no checksums: a changed byte within a value is not noticed.)

    Notes
    -----
    Each process, and each thread, opens its own read-only connection at its first look-up, and anew after a fork.
    When another file takes the place of this one, the next look-up is in the new file; a frozen one is read on where it
    is open, whole, and is a `BrokenError` where it is not.
    """

    def __init__(
        self, path: str | os.PathLike[str], table: str | None = None, key: str | None = None, *, frozen: bool = False
    ) -> None:
        self._connections = Connections(os.path.abspath(os.fspath(path)), table, key, frozen)
        try:
            self._connections.get()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        data: Any,
        values: Any = None,
        *,
        key: str | None = None,
        columns: Sequence[str] | None = None,
        table: str = "data",
    ) -> Database:
        """Write a database file with one table and return it, frozen.

        Parameters
        ----------
        path : path
            An existing file is replaced when the new one is whole; if this raises or is killed, it stays.
        data, values, key
            As for `Table`; or `data` is the path of a CSV file with a line of names, or any iterable of rows: dicts, or
            sequences if `columns` are named. Numbers of 64 bits, texts, bytes and arrays are kept.
        columns : sequence of str, optional
            The names for rows that are sequences.
        table : str

        Raises
        ------
        ConfigError
            A key occurs twice, a value cannot be kept, another process writes the same file.
        OSError
            The disk is full; the old file stays.
        """
        target = os.path.abspath(os.fspath(path))
        rows = rows_of(data, values, key, columns)
        with replacing(target) as part:
            with as_os_errors(part):
                load(part, table, rows)
            settle(target)
        return cls(target, table, rows.columns[0].name, frozen=True)

    # -- look-ups --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        connection = self._connections.get()
        row = fetch(connection, key)
        if row is None:
            raise KeyError(key)
        return connection.statements.value_of(row)

    def __contains__(self, key: object) -> bool:
        return fetch(self._connections.get(), key) is not None

    def __len__(self) -> int:
        connection = self._connections.get()
        count: int = connection.execute(connection.statements.count).fetchone()[0]
        return count

    def __iter__(self) -> Iterator[Any]:
        connection = self._connections.get()
        for (key,) in connection.execute(connection.statements.keys):
            yield key  # a generator that holds this object and `connection`: both stay as long as somebody iterates

    def _entries(self) -> Iterator[tuple[Any, Any]]:
        connection = self._connections.get()
        for row in connection.execute(f"{connection.statements.select} ORDER BY 1"):
            yield row[0], connection.statements.value_of(row)

    def range(self, low: Any = None, high: Any = None) -> tuple[Array, Any]:
        connection = self._connections.get()
        asked = connection.statements
        bounds = [(f"{quoted(asked.key)} >= ?", low), (f"{quoted(asked.key)} < ?", high)]
        given = [(condition, bound_of(connection, bound)) for condition, bound in bounds if bound is not None]
        where = " AND ".join(condition for condition, _ in given) or "1"
        rows = connection.execute(f"{asked.select} WHERE {where} ORDER BY 1", [bound for _, bound in given]).fetchall()
        keys, *columns = asked.arrays(rows)
        return keys, unwrapped(dict(zip(asked.shown, columns, strict=True)))

    def _find(self, keys: Any) -> tuple[Array, Columns]:
        connection = self._connections.get()
        with contextlib.nullcontext() if self.frozen or len(keys) <= KEYS_AT_ONCE else connection.snapshot():
            return find(connection, keys)

    def query(self, sql: str, parameters: Parameters = ()) -> dict[str, Array]:
        """Return the columns of what a query gives, as arrays.

        Parameters
        ----------
        sql : str
            A SELECT; with ``?`` or ``:name`` for the parameters.
        parameters : sequence or mapping

        Returns
        -------
        dict of arrays, shape (n,)
            Of int64 or float64 where all values are numbers (nothing is NaN among floats), else of objects.

        Raises
        ------
        sqlite3.Error
            What SQLite says of the query.
        """
        connection = self._connections.get()
        cursor = connection.execute(sql, plain_parameters(parameters))
        names = [entry[0] for entry in cursor.description or ()]
        if len(set(names)) < len(names):
            raise ConfigError(f"two columns of the query have the same name: {names}; name them with AS")
        rows = cursor.fetchall()
        values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        return {name: array_of(list(column)) for name, column in zip(names, values, strict=True)}

    def map_rows(
        self,
        fn: Callable[[dict[str, Array]], Any],
        sql: str,
        parameters: Parameters = (),
        *,
        pool: Executor,
        key: str | None = None,
        rows: int = 10_000,
    ) -> Iterator[Any]:
        """Return an iterator over ``fn(columns)`` of consecutive pieces of what a query gives, in order of the keys.

        The workers of the pool read the rows; only ranges of keys are sent to them.

        Parameters
        ----------
        fn : callable
            Gets the columns of a piece as `query` returns them.
        sql, parameters
            As for `query`.
        pool : WorkerPool, or another executor
        key : str, optional
            The column of the query by which it is cut; best an indexed one. Default: the key.
        rows : int
            Per piece, about: rows of equal key stay together.

        Raises
        ------
        ConfigError
            `rows` is not a positive int, the query has no column of that name, or there are rows without a key.
        """
        if not isinstance(rows, int) or rows < 1:
            raise ConfigError(f"rows must be an int of at least 1, not {rows!r}")
        query = Query(f"\n{sql.strip().removesuffix(';')}\n", plain_parameters(parameters))
        starts = query.starts(self._connections.get(), key or self.key, rows)
        return pool.map(partial(map_piece, self, fn, query, quoted(key or self.key)), starts, [*starts[1:], None])

    # -- what is behind it -----------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Of the file."""
        return self._connections.path

    @property
    def frozen(self) -> bool:
        """Whether nobody changes the file."""
        return self._connections.frozen

    @property
    def table(self) -> str:
        """The table that is looked up."""
        return str(self._connections.table)

    @property
    def key(self) -> str:
        """The column of the keys."""
        return str(self._connections.key)

    @property
    def columns(self) -> list[str | None]:
        return list(self._connections.get().statements.shown)

    @property
    def version(self) -> str:
        return self._connections.version or self._connections.version_now()

    def close(self) -> None:
        self._connections.close()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over() and hasattr(self, "_connections"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        known = self._connections
        return _from_pickle, (known.path, known.table, known.key, known.frozen, known.version, known.statements)

    def __repr__(self) -> str:
        if self._connections.is_closed:
            return f"<Database {self.path}, closed>"
        kind = "frozen " if self.frozen else ""
        return f"<Database {self.path}: {kind}table {self.table!r} by {self.key!r}>"


def _from_pickle(*known: Any) -> Database:
    """Return a handle that opens the file at its first look-up."""
    made = object.__new__(Database)
    made._connections = Connections(*known)
    return made
