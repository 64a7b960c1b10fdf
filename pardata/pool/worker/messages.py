"""The messages of a pool: a task is a tuple of kind, address of its function, number of its job, and its arguments.

Its outcome travels as a tuple too: both are pickled once per message, and a class would be looked up in each.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

CALL, ITEMS, ROWS = 0, 1, 2  # kinds of tasks

_PLAIN: Final = {int, float, complex, bool, str, bytes, type(None)}
_PACKED_FROM: Final = 16


class CodeAddress(NamedTuple):
    """The place of an encoded function (or of anything else) in the segment."""

    key: int
    offset: int
    length: int
    blocks: list[tuple[int, int]]


def pack(items: Sequence[Any]) -> Any:
    """Return items as they are best put into a message: plain ones as bytes, which no pickler looks through again."""
    if len(items) >= _PACKED_FROM and type(items) is list and set(map(type, items)) <= _PLAIN:
        return pickle.dumps(items, 5)
    return items


def unpack(packed: Any) -> Any:
    """Return the items."""
    return pickle.loads(packed) if type(packed) is bytes else packed


def squeeze(message: tuple[Any, ...], *contents: Any) -> Any:
    """Return a message as it is best sent: as bytes, if `contents`, all that the user has put into it, are plain."""
    return pickle.dumps(message, 5) if set(map(type, contents)) <= _PLAIN else message
