"""A look-up in an SQLite file, which may be larger than memory, outlives the program and answers SQL."""

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
from pardata.lookup.loading import clear_journal, load, quoted
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
        True promises that the file will not be changed any more. It is then read without locks, four times as fast. If
        it is changed nevertheless, answers are wrong.

    Raises
    ------
    ConfigError
        There is no such file, table or column, or the file is not a database.
    ChecksumError
        The file is cut off. SQLite has no checksums: a changed byte within a value is not noticed.

    Notes
    -----
    Each process, and each thread, opens its own read-only connection at its first look-up, and anew after a fork.
    When another file takes the place of this one, the next look-up is in the new file. Of a frozen file, open
    connections go on with the old file, and opening another one raises `BrokenError`.

    Examples
    --------
    >>> pardata.Database.create("stars.db", {71683: -0.01, 32349: -1.46}).close()
    >>> with pardata.Database("stars.db") as stars:
    ...     stars[32349]
    -1.46
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
            As for `Table`; or `data` is the path of a CSV file with a line of names, or an iterable of rows: dicts, or
            sequences if `columns` are named. Numbers of 64 bits, texts, bytes and columns of arrays are stored.
        columns : sequence of str, optional
            The names of the columns, for rows that are sequences.
        table : str

        Raises
        ------
        ConfigError
            A key occurs twice or is missing, a value cannot be stored, or another process writes the same file.
        OSError
            The disk is full; the old file stays.

        Examples
        --------
        >>> rows = [{"id": 3, "name": "Earth"}, {"id": 4, "name": "Mars"}]
        >>> planets = pardata.Database.create("planets.db", rows, key="id")
        >>> planets[4]
        {'name': 'Mars'}
        """
        target = os.path.abspath(os.fspath(path))
        rows = rows_of(data, values, key, columns)
        with replacing(target) as part:
            with as_os_errors(part):
                load(part, table, rows)
            clear_journal(target)
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
            yield key  # the generator refers to this object and to `connection`: neither is closed before its end

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
        """Return the result of a query, as columns.

        Parameters
        ----------
        sql : str
            A SELECT, with ``?`` or ``:name`` for each parameter.
        parameters : sequence or mapping

        Returns
        -------
        dict of arrays, shape (n,)
            Of int64 or float64 if all values are numbers (NULL among floats is NaN), else of objects.

        Raises
        ------
        ConfigError
            Two columns have the same name, or `parameters` are of another type.
        sqlite3.Error
            SQLite refuses the query.

        Examples
        --------
        >>> planets = pardata.Database.create("planets.db", {"Earth": 1.0, "Mars": 1.52})
        >>> planets.query("SELECT key FROM data WHERE value > ?", [1.1])["key"].tolist()
        ['Mars']
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
        """Call `fn` on consecutive pieces of the result of a query, in the workers of a pool.

        The workers read the rows; only ranges of keys are sent to them.

        Parameters
        ----------
        fn : callable
            It is given the columns of a piece, as `query` returns them.
        sql, parameters
            As for `query`.
        pool : WorkerPool, or another executor
        key : str, optional
            The column of the result by whose values it is cut; preferably an indexed one. Default: the key.
        rows : int
            Rows per piece, about: rows of equal key stay together.

        Returns
        -------
        iterator
            The results of `fn`, in order of the keys.

        Raises
        ------
        ConfigError
            `rows` is not a positive int, the result has no such column, or it has rows without a key.

        Examples
        --------
        >>> squares = pardata.Database.create("squares.db", range(100), [n * n for n in range(100)])
        >>> with pardata.WorkerPool(2) as pool:
        ...     list(squares.map_rows(lambda rows: len(rows["key"]), "SELECT * FROM data", pool=pool, rows=40))
        [40, 40, 20]
        """
        if not isinstance(rows, int) or rows < 1:
            raise ConfigError(f"rows must be an int of at least 1, not {rows!r}")
        query = Query(f"\n{sql.strip().removesuffix(';')}\n", plain_parameters(parameters))
        starts = query.starts(self._connections.get(), key or self.key, rows)
        return pool.map(partial(map_piece, self, fn, query, quoted(key or self.key)), starts, [*starts[1:], None])

    # -- the file --------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self._connections.path

    @property
    def frozen(self) -> bool:
        """True if the file was promised not to be changed any more."""
        return self._connections.frozen

    @property
    def table(self) -> str:
        """Name of the table in the file."""
        return str(self._connections.table)

    @property
    def key(self) -> str:
        """Name of the column of the keys."""
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

    def _compared(self) -> Any:
        """Return what a checkpoint compares it by; its version is known if it is frozen."""
        return self.path, self.table, self.key, self._connections.version

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
