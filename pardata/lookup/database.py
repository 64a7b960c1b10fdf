"""A look-up in an SQLite file: larger than memory, kept, and asked in SQL. Every process has its own connection."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final

import numpy as np

from pardata.errors import BrokenError, ChecksumError, ClosedError, ConfigError
from pardata.files.replacing import replacing
from pardata.lookup.base import Array, Columns, Lookup, array_of, plain, unwrapped
from pardata.lookup.loading import META, Column, leftovers, load, quoted, rows_of, settle

Parameters = Sequence[Any] | Mapping[str, Any]

_KEYS_AT_ONCE: Final = 500  # per query: past that it only gets longer; every SQLite takes 999 parameters
_KEPT: Final = (int, float, str, bytes)  # what a key in a database can be
_KINDS: Final[dict[str, Any]] = {"numbers": (int, float), "str": str, "bytes": bytes}
_KIND_OF: Final = {"integer": "numbers", "real": "numbers", "text": "str", "blob": "bytes"}  # of SQLite's types
_ENDS: Final = ("min", "max")
_MMAP_BYTES: Final = 1 << 40  # of the file; SQLite reads a frozen one without a copy

_inherited: list[sqlite3.Connection] = []  # in a forked child: not to be used


class _Open:
    """A connection of one thread of one process; it is closed when the thread ends."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.pid = os.getpid()

    def close(self) -> None:
        if self.pid == os.getpid():
            self.connection.close()
        else:
            _inherited.append(self.connection)

    __del__ = close


_all_open: weakref.WeakSet[_Open] = weakref.WeakSet()


def _close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent.

    SQLite counts the locks of a process in its own memory. What it has inherited there says that the file is locked,
    and the child would read without a lock; the locks of the parent are not touched by closing.
    """
    _inherited.extend(opened.connection for opened in list(_all_open) if opened.pid != os.getpid())
    while _inherited:
        _inherited.pop().close()


class _Connections(threading.local):
    open: _Open | None = None


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
    """

    def __init__(
        self, path: str | os.PathLike[str], table: str | None = None, key: str | None = None, *, frozen: bool = False
    ) -> None:
        self._set_up(os.path.abspath(os.fspath(path)), frozen)
        try:
            _check_readable(self.path)
            self._check_file()
            self.table = table if table is not None else self._only_table()
            self.key, self._columns, self._is_unnamed = self._inspect(key)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise ConfigError(f"{self.path} cannot be read as a database: {error}") from error
        except BaseException:
            self.close()
            raise
        self._version = self._version_now() if frozen else ""
        self._prepare()

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
        """
        target = os.path.abspath(os.fspath(path))
        rows = rows_of(data, values, key, columns)
        with replacing(target) as part:
            load(part, table, rows)
            settle(target)
        return cls(target, table, rows.columns[0].name, frozen=True)

    # -- look-ups --------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Any) -> Any:
        row = self._fetch(key)
        if row is None:
            raise KeyError(key)
        return self._value_of(row)

    def _value_of(self, row: tuple[Any, ...]) -> Any:
        if self._is_unnamed:
            return self._decoders[0](row[1])
        return {name: decode(value) for name, decode, value in zip(self._names, self._decoders, row[1:], strict=True)}

    def __contains__(self, key: object) -> bool:
        return self._fetch(key) is not None

    def __len__(self) -> int:
        count: int = self._execute(f"SELECT count(*) FROM {quoted(self.table)}").fetchone()[0]
        return count

    def __iter__(self) -> Iterator[Any]:
        for (key,) in self._execute(f"SELECT {quoted(self.key)} FROM {quoted(self.table)} ORDER BY 1"):
            yield key  # a generator of this object: it stays open as long as somebody iterates

    def _entries(self) -> Iterator[tuple[Any, Any]]:
        for row in self._execute(f"{self._select} ORDER BY 1"):
            yield row[0], self._value_of(row)

    def range(self, low: Any = None, high: Any = None) -> tuple[Array, Any]:
        key = quoted(self.key)
        bounds = [(f"{key} >= ?", low), (f"{key} < ?", high)]
        given = [(condition, self._bound(bound)) for condition, bound in bounds if bound is not None]
        where = " AND ".join(condition for condition, _ in given) or "1"
        rows = self._execute(f"{self._select} WHERE {where} ORDER BY 1", [bound for _, bound in given]).fetchall()
        keys, *columns = self._arrays(rows)
        return keys, unwrapped(dict(zip(self._shown, columns, strict=True)))

    def _bound(self, bound: Any) -> Any:
        """Return a bound as SQLite takes it; refuse another kind than that of the keys, which it would convert."""
        given = plain(bound)
        kind = next((name for name, types in _KINDS.items() if isinstance(given, types)), None)
        ends = " , ".join(f"typeof((SELECT {end}({quoted(self.key)}) FROM {quoted(self.table)}))" for end in _ENDS)
        found = {_KIND_OF[name] for name in self._execute(f"SELECT {ends}").fetchone() if name != "null"}
        if given != given or (found and kind not in found):
            raise ConfigError(
                f"the keys are {' and '.join(sorted(found))}: no range of them begins or ends at {bound!r}"
            )
        return given if not isinstance(given, int) or abs(given) < 1 << 63 else float(given)

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
        cursor = self._execute(sql, _plain(parameters))
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
        name, sql, parameters = key or self.key, f"\n{sql.strip().removesuffix(';')}\n", _plain(parameters)
        given = [entry[0] for entry in self._execute(f"SELECT * FROM ({sql}) LIMIT 0", parameters).description]
        if name.lower() not in map(str.lower, given):  # SQLite would take the name for a text
            raise ConfigError(f"the query has no column {name!r} by which to cut its rows, only {given}")
        column = quoted(name)
        numbered = f"SELECT {column} AS k, row_number() OVER (ORDER BY {column}) - 1 AS n FROM ({sql})"
        ends = f"SELECT k, n FROM ({numbered}) WHERE n % {rows} = 0 OR k IS NULL ORDER BY n"
        starts = [start for start, _ in self._execute(ends, parameters).fetchall()]
        if None in starts:
            raise ConfigError(f"the query has rows whose {column} is NULL: they are in no range")
        starts = sorted(set(starts), key=starts.index)
        read = partial(_map_piece, self, fn, sql, parameters, column)
        return pool.map(read, starts, [*starts[1:], None])

    # -- what is behind it -----------------------------------------------------------------------------------------

    def _set_up(self, path: str, frozen: bool) -> None:
        self.path = path
        self.frozen = frozen
        self._version = ""
        self._closed = False
        self._local = _Connections()
        self._opened: weakref.WeakSet[_Open] = weakref.WeakSet()

    def _prepare(self) -> None:
        self._names = [column.name for column in self._columns[1:]]
        self._shown: list[str | None] = [None] if self._is_unnamed else [*self._names]
        self._decoders = [column.one() for column in self._columns[1:]]
        named = ", ".join(quoted(column.name) for column in self._columns)
        self._select = f"SELECT {named} FROM {quoted(self.table)}"
        self._one = f"{self._select} WHERE {quoted(self.key)} = ?"
        self._some = f"{self._select} WHERE {quoted(self.key)} IN ({', '.join('?' * _KEYS_AT_ONCE)})"

    def _check_file(self) -> None:
        """Refuse a file that is not whole; SQLite itself may notice only when it reads the missing pages."""
        (pages,), (size,) = (self._execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
        found = os.stat(self.path).st_size
        beside = leftovers(self.path)
        if found < pages * size and not beside:
            raise ChecksumError(f"{self.path} is cut off: {found} of {pages * size} bytes are there")
        if self.frozen and beside:
            raise ConfigError(f"{self.path} is not frozen: {beside[0]} holds more of it; open it without frozen=True")

    def _only_table(self) -> str:
        rows = self._execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' "
            "AND name NOT LIKE 'pardata_%'"
        ).fetchall()
        if len(rows) != 1:
            raise ConfigError(f"{self.path} has the tables {[name for (name,) in rows]}: name one by table=")
        name: str = rows[0][0]
        return name

    def _inspect(self, key: str | None) -> tuple[str, list[Column], bool]:
        found = self._execute(f"PRAGMA table_info({quoted(self.table)})").fetchall()
        names = [row[1] for row in found]
        primary = [row[1] for row in found if row[5]]
        if not names:
            raise ConfigError(f"{self.path} has no table {self.table!r}")
        if key is None and len(primary) == 1:
            key = primary[0]
        if key is None or key not in names:
            raise ConfigError(f"key= must name the column of the keys in {self.table!r}, one of {names}, not {key!r}")
        columns = {name: Column(name) for name in names}
        is_unnamed = False
        if self._execute("SELECT 1 FROM sqlite_master WHERE name = ?", (META,)).fetchone():
            noted = self._execute(f"SELECT columns FROM {META} WHERE name = ?", (self.table,)).fetchone()
            if noted is not None:
                said = json.loads(noted[0])
                is_unnamed = said["unnamed"]
                columns |= {
                    name: Column(name, dtype, tuple(shape), packed)
                    for name, dtype, shape, packed in said["columns"]
                    if name in columns  # it may have been renamed since
                }
        return key, [columns.pop(key), *columns.values()], is_unnamed

    def _connect(self) -> sqlite3.Connection:
        """Return the connection of this thread, opened anew after a fork."""
        local = self._local
        if local.open is not None and local.open.pid == os.getpid():
            return local.open.connection
        if self._closed:
            raise ClosedError(f"{self.path} was closed")
        if self._version and self._version_now() != self._version:
            raise BrokenError(f"{self.path} was replaced or changed since this handle of a frozen database was made")
        _close_inherited()
        name = self.path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        uri = f"file:{name}?mode=ro{'&immutable=1' if self.frozen else ''}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0)
        local.open = _Open(connection)
        self._opened.add(local.open)
        _all_open.add(local.open)
        if self.frozen:
            connection.execute(f"PRAGMA mmap_size = {_MMAP_BYTES}")
        return connection

    def _execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        return self._connect().execute(sql, parameters)

    def _fetch(self, key: Any) -> Any:
        """Return the row of a key, the key first; None if there is none."""
        try:
            row = self._connect().execute(self._one, (key,)).fetchone()
        except (OverflowError, UnicodeEncodeError):
            return None
        except (sqlite3.InterfaceError, sqlite3.ProgrammingError):
            if isinstance(key, _KEPT):
                raise
            row = None  # of a type that no database holds
        if row is None and isinstance(key, np.generic):  # SQLite takes it for bytes
            return self._fetch(key.item())
        # A column of texts says that 5 is '5'; a mapping does not.
        return row if row is not None and row[0] == key else None

    def _find(self, keys: Any) -> tuple[Array, Columns]:
        rows: list[Any]
        if isinstance(keys, np.ndarray):
            asked = keys.tolist()
            known = self._fetch_many(asked)
            rows = list(map(known.get, asked))
        else:
            asked = [plain(key) for key in keys]
            known = self._fetch_many([key for key in asked if isinstance(key, _KEPT)])
            rows = [known.get(key) if isinstance(key, _KEPT) else None for key in asked]
        if None not in rows:
            found = np.ones(len(rows), bool)
        else:
            found = np.array([row is not None for row in rows])
            rows = [row for row in rows if row is not None]
        _, *columns = self._arrays(rows)
        return found, dict(zip(self._shown, columns, strict=True))

    def _fetch_many(self, keys: list[Any]) -> dict[Any, Any]:
        """Return the rows of those keys that there are, by key."""
        try:
            wanted = sorted(keys)  # neighbours lie on the same pages
        except TypeError:
            wanted = list(keys)  # of several types
        known: dict[Any, Any] = {}
        for begin in range(0, len(wanted), _KEYS_AT_ONCE):
            part = wanted[begin : begin + _KEYS_AT_ONCE]
            part += part[-1:] * (_KEYS_AT_ONCE - len(part))  # one statement for all numbers of keys
            try:
                rows = self._execute(self._some, part).fetchall()
            except (OverflowError, UnicodeEncodeError):
                rows = [row for key in set(part) if (row := self._fetch(key)) is not None]
            known.update({row[0]: row for row in rows})
        return known

    def _arrays(self, rows: Sequence[tuple[Any, ...]]) -> list[Array]:
        values = list(zip(*rows, strict=True)) if rows else [()] * len(self._columns)
        return [column.many(cells) for column, cells in zip(self._columns, values, strict=True)]

    @property
    def columns(self) -> list[str | None]:
        return list(self._shown)

    @property
    def version(self) -> str:
        return self._version or self._version_now()

    def _version_now(self) -> str:
        found = [os.stat(name) for name in (self.path, f"{self.path}-wal") if os.path.exists(name)]
        return "-".join(f"{each.st_ino:x}.{each.st_mtime_ns:x}.{each.st_size:x}" for each in found)

    def close(self) -> None:
        self._closed = True
        for opened in list(self._opened):
            opened.close()
        self._local = _Connections()

    def __del__(self) -> None:
        if hasattr(self, "_opened"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.path, self.frozen, self.table, self.key, self._columns, self._is_unnamed, self._version)

    def __repr__(self) -> str:
        if self._closed:
            return f"<Database {self.path}, closed>"
        kind = "frozen " if self.frozen else ""
        return f"<Database {self.path}: {kind}table {self.table!r} by {self.key!r}>"


def _opened(
    path: str, frozen: bool, table: str, key: str, columns: list[Column], is_unnamed: bool, version: str
) -> Database:
    """Return a handle that opens the file at its first look-up."""
    made = object.__new__(Database)
    made._set_up(path, frozen)
    made.table, made.key, made._columns, made._is_unnamed = table, key, columns, is_unnamed
    made._version = version
    made._prepare()
    return made


def _check_readable(path: str) -> None:
    """Raise OSError if there is no such file. To open and close it would drop what locks this process has on it."""
    if stat.S_ISDIR(os.stat(path).st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def _plain(parameters: Parameters) -> Parameters:
    """Return the parameters without NumPy's scalars, which SQLite takes for bytes."""
    if isinstance(parameters, Mapping):
        return {name: plain(value) for name, value in parameters.items()}
    return [plain(value) for value in parameters]


def _map_piece(
    database: Database, fn: Callable[[Any], Any], sql: str, parameters: Parameters, column: str, low: Any, high: Any
) -> Any:
    """Call the function with the rows of a query whose key is in ``[low, high)``."""
    bounds = {"pardata_low": low} if high is None else {"pardata_low": low, "pardata_high": high}
    if isinstance(parameters, Mapping):
        where = f"{column} >= :pardata_low" + (f" AND {column} < :pardata_high" if high is not None else "")
        given: Parameters = {**parameters, **bounds}
    else:
        where = f"{column} >= ?" + (f" AND {column} < ?" if high is not None else "")
        given = [*parameters, *bounds.values()]
    return fn(database.query(f"SELECT * FROM ({sql}) WHERE {where} ORDER BY {column}", given))
