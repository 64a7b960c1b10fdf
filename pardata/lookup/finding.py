"""Find the rows of keys by an open connection: what SQLite takes for equal, and Python does not."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.lookup.base import Array, Columns, exactly, plain
from pardata.lookup.connections import ThreadConnection
from pardata.lookup.statements import KEYS_AT_ONCE

_KEPT: Final = (int, float, str, bytes)  # what a key in a database can be
_KINDS: Final[dict[str, Any]] = {"numbers": (int, float), "str": str, "bytes": bytes}
_KIND_OF: Final = {"integer": "numbers", "real": "numbers", "text": "str", "blob": "bytes"}  # of SQLite's types


def fetch(connection: ThreadConnection, key: Any) -> Any:
    """Return the row of a key, the key first; None if there is none."""
    if not isinstance(key, _KEPT):  # not left to SQLite, which has ways to convert a date, and takes scalars for bytes
        key = _as_kept(key)
        if not isinstance(key, _KEPT):
            return None
    try:
        row = connection.execute(connection.statements.one, (key,)).fetchone()
    except (OverflowError, UnicodeEncodeError):
        return None
    # A column of texts says that 5 is '5'; a mapping does not.
    return row if row is not None and row[0] == key else None


def _as_kept(key: Any) -> Any:
    """Return the key in a database that is equal to one of another type, if there is one."""
    return exactly(key) if isinstance(key, Decimal | Fraction) else plain(key)


def find(connection: ThreadConnection, keys: Any) -> tuple[Array, Columns]:
    """Return which of the keys there are, and the columns of those."""
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
    """Return the rows of those keys that there are, by key."""
    try:
        wanted = sorted(keys)  # neighbours lie on the same pages
    except TypeError:
        wanted = list(keys)  # of several types
    known: dict[Any, Any] = {}
    for begin in range(0, len(wanted), KEYS_AT_ONCE):
        part = wanted[begin : begin + KEYS_AT_ONCE]
        part += part[-1:] * (KEYS_AT_ONCE - len(part))  # one statement for all numbers of keys
        try:
            rows = connection.execute(connection.statements.some, part).fetchall()
        except (OverflowError, UnicodeEncodeError):
            rows = [row for key in set(part) if (row := fetch(connection, key)) is not None]
        known.update({row[0]: row for row in rows})
    return known


def bound_of(connection: ThreadConnection, bound: Any) -> Any:
    """Return a bound as SQLite takes it; refuse another kind than that of the keys, which it would convert."""
    given = plain(bound)
    kind = next((name for name, types in _KINDS.items() if isinstance(given, types)), None)
    found = {_KIND_OF[name] for name in connection.execute(connection.statements.kinds).fetchone() if name != "null"}
    if given != given or (found and kind not in found):
        raise ConfigError(f"the keys are {' and '.join(sorted(found))}: no range of them begins or ends at {bound!r}")
    return given if not isinstance(given, int) or abs(given) < 1 << 63 else float(given)
