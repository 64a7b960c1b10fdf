"""A query cut by ranges of a key, so that each worker reads the rows of one range."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from pardata.errors import ConfigError
from pardata.lookup.base import Array, plain
from pardata.lookup.connections import ThreadConnection
from pardata.lookup.loading import quoted

Parameters = Sequence[Any] | Mapping[str, Any]


class Queryable(Protocol):
    """A database that answers queries."""

    def query(self, sql: str, parameters: Parameters = ()) -> dict[str, Array]:
        """Return the columns of the rows."""


class Query(NamedTuple):
    """A SELECT and its parameters; the text can stand in brackets within another SELECT."""

    sql: str
    parameters: Parameters

    def starts(self, connection: ThreadConnection, name: str, rows: int) -> list[Any]:
        """Return the keys at which pieces of about `rows` rows begin, in order of the column `name`.

        Raises `ConfigError` if there is no such column, or a row has NULL in it.
        """
        sql, parameters = self
        given = [entry[0] for entry in connection.execute(f"SELECT * FROM ({sql}) LIMIT 0", parameters).description]
        if name.lower() not in map(str.lower, given):  # SQLite would take the quoted name for a text
            raise ConfigError(f"the query has no column {name!r} by which to cut its rows, only {given}")
        column = quoted(name)
        numbered = f"SELECT {column} AS k, row_number() OVER (ORDER BY {column}) - 1 AS n FROM ({sql})"
        ends = f"SELECT k, n FROM ({numbered}) WHERE n % {rows} = 0 OR k IS NULL ORDER BY n"
        starts = [start for start, _ in connection.execute(ends, parameters).fetchall()]
        if None in starts:
            raise ConfigError(f"the query has rows whose {column} is NULL: they are in no range")
        return sorted(set(starts), key=starts.index)


def plain_parameters(parameters: Parameters) -> Parameters:
    """Return the parameters with Python scalars in place of NumPy's, which SQLite would take for bytes."""
    if isinstance(parameters, str | bytes) or not isinstance(parameters, Iterable):
        raise ConfigError(f"parameters are given as a sequence or a mapping, not as {parameters!r}")
    if isinstance(parameters, Mapping):
        return {name: plain(value) for name, value in parameters.items()}
    return [plain(value) for value in parameters]


def map_piece(database: Queryable, fn: Callable[[Any], Any], query: Query, column: str, low: Any, high: Any) -> Any:
    """Call the function with the rows of a query whose key is in ``[low, high)``."""
    sql, parameters = query
    bounds = {"pardata_low": low} if high is None else {"pardata_low": low, "pardata_high": high}
    if isinstance(parameters, Mapping):
        where = f"{column} >= :pardata_low" + (f" AND {column} < :pardata_high" if high is not None else "")
        given: Parameters = {**parameters, **bounds}
    else:
        where = f"{column} >= ?" + (f" AND {column} < ?" if high is not None else "")
        given = [*parameters, *bounds.values()]
    return fn(database.query(f"SELECT * FROM ({sql}) WHERE {where} ORDER BY {column}", given))
