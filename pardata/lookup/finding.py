"""Find the rows of keys through an open connection, where SQLite and Python disagree on which keys are equal."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array, Columns, exactly, plain
from pardata.lookup.connections import ThreadConnection
from pardata.lookup.statements import KEYS_AT_ONCE

_KEPT: Final = (int, float, str, bytes)  # the types of keys in a database
_KINDS: Final[dict[str, Any]] = {"numbers": (int, float), "str": str, "bytes": bytes}
_KIND_OF: Final = {"integer": "numbers", "real": "numbers", "text": "str", "blob": "bytes"}  # of SQLite's types


def fetch(connection: ThreadConnection, key: Any) -> Any:
    """Return the row of a key, the key first; None if there is none."""
    if not isinstance(key, _KEPT):  # SQLite would convert a date, and would take a NumPy scalar for bytes
        key = _as_kept(key)
        if not isinstance(key, _KEPT):
            return None
    try:
        row = connection.execute(connection.statements.one, (key,)).fetchone()
    except (OverflowError, UnicodeEncodeError):
        return None
    # SQLite finds '5' for 5 in a column of texts; a mapping does not.
    return row if row is not None and row[0] == key else None


def _as_kept(key: Any) -> Any:
    """Return the equal key of a type that a database holds, if there is one; else `key`."""
    return exactly(key) if isinstance(key, Decimal | Fraction) else plain(key)


def find(connection: ThreadConnection, keys: Any) -> tuple[Array, Columns]:
    """Return for each key whether it is there, and the columns of the keys found."""
    rows: list[Any]
    if isinstance(keys, np.ndarray):
        asked = keys.tolist()
        known = _fetch_many(connection, asked)
        rows = list(map(known.get, asked))
    else:
        asked = [key if isinstance(key, _KEPT) else _as_kept(key) for key in keys]
        known = _fetch_many(connection, [key for key in asked if isinstance(key, _KEPT)])
        rows = [known.get(key) if isinstance(key, _KEPT) else None for key in asked]
    if None not in rows:
        found = np.ones(len(rows), bool)
    else:
        found = np.array([row is not None for row in rows])
        rows = [row for row in rows if row is not None]
    _, *columns = connection.statements.arrays(rows)
    return found, dict(zip(connection.statements.shown, columns, strict=True))


def _fetch_many(connection: ThreadConnection, keys: list[Any]) -> dict[Any, Any]:
    """Return the rows of the keys that are there, by key."""
    try:
        wanted = sorted(keys)  # neighbours lie on the same pages
    except TypeError:
        wanted = list(keys)  # of several types
    known: dict[Any, Any] = {}
    for begin in range(0, len(wanted), KEYS_AT_ONCE):
        part = wanted[begin : begin + KEYS_AT_ONCE]
        part += part[-1:] * (KEYS_AT_ONCE - len(part))  # filled up, so that one statement serves any number of keys
        try:
            rows = connection.execute(connection.statements.some, part).fetchall()
        except (OverflowError, UnicodeEncodeError):
            rows = [row for key in set(part) if (row := fetch(connection, key)) is not None]
        known.update({row[0]: row for row in rows})
    return known


def bound_of(connection: ThreadConnection, bound: Any) -> Any:
    """Return a bound as a parameter for SQLite.

    Raises `ConfigError` if it is of another kind than the keys: SQLite would convert it.
    """
    given = plain(bound)
    kind = next((name for name, types in _KINDS.items() if isinstance(given, types)), None)
    found = {_KIND_OF[name] for name in connection.execute(connection.statements.kinds).fetchone() if name != "null"}
    if given != given or (found and kind not in found):
        raise ConfigError(f"the keys are {' and '.join(sorted(found))}: no range of them begins or ends at {bound!r}")
    return given if not isinstance(given, int) or abs(given) < 1 << 63 else float(given)
