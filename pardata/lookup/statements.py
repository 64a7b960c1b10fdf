"""The SQL statements for a table, and the decoding of its rows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from pardata.errors import ConfigError
from pardata.lookup.base import Array
from pardata.lookup.loading import META, quoted
from pardata.lookup.rows import Column

KEYS_AT_ONCE: Final = 500  # per query: past that it only gets longer; every SQLite takes 999 parameters


@dataclass
class Statements:
    """The statements for the look-ups of one table; the key is its first column."""

    table: str
    columns: list[Column]
    is_unnamed: bool

    def __post_init__(self) -> None:
        named = ", ".join(quoted(column.name) for column in self.columns)
        key, table = quoted(self.key), quoted(self.table)
        self.count = f"SELECT count(*) FROM {table}"
        self.select = f"SELECT {named} FROM {table}"
        self.one = f"{self.select} WHERE {key} = ?"
        self.some = f"{self.select} WHERE {key} IN ({', '.join('?' * KEYS_AT_ONCE)})"
        self.keys = f"SELECT {key} FROM {table} ORDER BY 1"
        ends = (f"typeof((SELECT {end}({key}) FROM {table}))" for end in ("min", "max"))
        self.kinds = f"SELECT {', '.join(ends)}"
        self.decoders = [column.one() for column in self.columns[1:]]

    def __reduce__(self) -> tuple[Any, ...]:
        return Statements, (self.table, self.columns, self.is_unnamed)

    @property
    def key(self) -> str:
        """The column of the keys."""
        return self.columns[0].name

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns of values."""
        return [column.name for column in self.columns[1:]]

    @cached_property
    def shown(self) -> list[str | None]:
        """The names that a user sees: ``[None]`` for a single column without a name."""
        return [None] if self.is_unnamed else [*self.names]

    def value_of(self, row: tuple[Any, ...]) -> Any:
        """Return the value of a row, the key first."""
        if self.is_unnamed:
            return self.decoders[0](row[1])
        return {name: decode(value) for name, decode, value in zip(self.names, self.decoders, row[1:], strict=True)}

    def arrays(self, rows: Sequence[tuple[Any, ...]]) -> list[Array]:
        """Return the columns of rows as arrays, the keys first."""
        values = list(zip(*rows, strict=True)) if rows else [()] * len(self.columns)
        return [column.many(cells) for column, cells in zip(self.columns, values, strict=True)]

    @classmethod
    def of(cls, connection: sqlite3.Connection, path: str, table: str | None, key: str | None) -> Statements:
        """Read the columns of a table from the file; raise `ConfigError` if a name is missing or wrong."""
        table = _only_table(connection, path) if table is None else table
        found = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
        names = [row[1] for row in found]
        primary = [row[1] for row in found if row[5]]
        if not names:
            raise ConfigError(f"{path} has no table {table!r}")
        if key is None and len(primary) == 1:
            key = primary[0]
        if key is None or key not in names:
            raise ConfigError(
                f"{path}: key= must name the column of the keys in {table!r}, one of {names}, not {key!r}"
            )
        columns = {name: Column(name) for name in names}
        noted, is_unnamed = _noted(connection, table)
        columns |= {column.name: column for column in noted if column.name in columns}  # others were renamed since
        return cls(table, [columns.pop(key), *columns.values()], is_unnamed)


def _only_table(connection: sqlite3.Connection, path: str) -> str:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' "
        "AND name NOT LIKE 'pardata_%'"
    ).fetchall()
    if len(rows) != 1:
        raise ConfigError(f"{path} has the tables {[name for (name,) in rows]}: name one by table=")
    name: str = rows[0][0]
    return name


def _noted(connection: sqlite3.Connection, table: str) -> tuple[list[Column], bool]:
    """Return the columns that are noted for a table, and whether its values have no name."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (META,)).fetchone() is None:
        return [], False
    row = connection.execute(f"SELECT columns FROM {META} WHERE name = ?", (table,)).fetchone()
    if row is None:
        return [], False
    said = json.loads(row[0])
    return [Column(name, dtype, tuple(shape), packed) for name, dtype, shape, packed in said["columns"]], said[
        "unnamed"
    ]
