"""The access that a reader has to the arrays of an item, and the arrays that its rule is about. Pure.

An array is *bare* if it is the item itself or stands in plain containers: lists, tuples, dicts, dataclasses. Code that
receives one can copy it. Nobody can copy what another object holds, as the columns of a table or the parts of a sparse
matrix: those arrays, and small ones, are their reader's own.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

IMMUTABLE: Final = frozenset((type(None), bool, int, float, complex, str, bytes))


class Access(enum.IntEnum):
    """The access of a reader to large bare arrays. All others are its own: a private, writable copy."""

    READ = 0  # read-only, in memory that others may read as well
    INPLACE = 1  # writable: in the memory of the sender if nobody else reads it, else a copy
    RESULT = 2  # of the caller: writable if nobody else reads them, else read-only


def bare_arrays(obj: Any, plain: Mapping[int, set[int]]) -> set[int]:
    """Return the ids of the arrays that stand in plain containers in `obj`.

    `plain`: by the id of an array of a subclass, the ids of the plain arrays that travel in its place.
    """
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [obj]
    while waiting:
        part = waiting.pop()
        if isinstance(part, np.ndarray):
            found.add(id(part))
            found |= plain.get(id(part), set())
        elif (inner := contents_of(part)) is not None and id(part) not in seen:
            seen.add(id(part))
            if not IMMUTABLE.issuperset(map(type, inner)):
                waiting += inner
    return found


def contents_of(part: Any) -> Any:
    """Return the contents of a plain container; None if it is none."""
    kind = type(part)
    if kind is tuple or kind is list:
        return part
    if kind is dict:
        return part.values()
    if isinstance(part, tuple) and hasattr(kind, "_fields"):
        return part
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return [getattr(part, name, None) for name in kind.__dataclass_fields__]
    return None
