"""Plain data: objects of which nothing but the contents matters, so that a worker may be given them anew. Pure."""

from __future__ import annotations

import argparse
import datetime
import decimal
import enum
import fractions
import pathlib
import types
from typing import Any, Final

_SIMPLE: Final = {
    type(None), type(...), bool, int, float, complex, str, bytes, range,
    decimal.Decimal, fractions.Fraction, datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
    type(pathlib.Path()), type(pathlib.PurePath()),
}  # fmt: skip
_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_NAMESPACES: Final = (types.SimpleNamespace, argparse.Namespace)
_ACTIVE: Final = ("__del__", "__enter__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__slots__")
_MOST: Final = 1000  # values in one container, and those in it


def is_simple(value: object) -> bool:
    """Return whether a value cannot change."""
    return type(value) in _SIMPLE or isinstance(value, enum.Enum)


def is_plain(value: Any) -> bool:
    """Return whether a value is simple, or a small container of such values, or a namespace."""
    waiting, count = [value], 0
    while waiting:
        part = waiting.pop()
        kind = type(part)
        count += 1
        if kind in _SIMPLE or isinstance(part, enum.Enum):
            continue
        if kind in _NAMESPACES:
            part = vars(part)
        elif kind not in _CONTAINERS:
            return False
        if count + len(part) > _MOST:
            return False
        waiting += part
        if isinstance(part, dict):
            waiting += part.values()
    return True


def is_record(value: Any) -> bool:
    """Return whether an object is nothing but its attributes, and these are plain."""
    kind = type(value)
    if not hasattr(value, "__dict__") or isinstance(value, type | types.ModuleType) or callable(value):
        return False
    is_passive = not any(name in vars(base) for base in kind.__mro__[:-1] for name in _ACTIVE)
    return is_passive and is_plain(vars(value))


def plain_contents(value: Any) -> Any:
    """Return the part of plain data by which two can be compared."""
    return value if type(value) in _CONTAINERS else vars(value)


def is_equal(one: Any, other: Any) -> bool:
    """Return whether two values are the same, or plain data with the same contents."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if is_simple(one):
        return bool(one == other)
    if is_plain(one) or is_record(one):
        return bool(plain_contents(one) == plain_contents(other))
    return False
