"""The items of a call, which it may change without another call's or attempt's seeing it."""

from __future__ import annotations

import itertools
import types
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pardata.memory.shared_heap import own_copy
from pardata.runtime.isolation import IMMUTABLE, isolate
from pardata.runtime.plain_copy import Own

Array = np.ndarray[Any, Any]

_WITHOUT_STATE: Final = (
    type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, np.ufunc, np.generic
)  # fmt: skip


def _kept(box: list[Any], is_held: bool) -> Array:
    return own_copy(box[0]) if box[0].flags.writeable else box[0]


def _writable(box: list[Any], is_held: bool) -> Array:
    return own_copy(box[0])


def for_attempt(item: Any) -> Any:
    """Return an item for one of several attempts: what the function changes of it, the next attempt does not see."""
    return _for_call(item, _kept)


def for_writing(item: Any) -> Any:
    """Return an item with arrays that a function may write to; `item` itself stays as it is."""
    return _for_call(item, _writable)


def _for_call(item: Any, own: Own) -> Any:
    return item if type(item) in IMMUTABLE else isolate([item], own=own)[0][0]


def apart(items: Sequence[Any]) -> Sequence[Any]:
    """Return the items of several calls; if two of them have one object, also as parts of tuples, each gets its own."""
    if IMMUTABLE.issuperset(map(type, items)):
        return items
    parts = itertools.chain.from_iterable(items) if set(map(type, items)) == {tuple} else items
    known = [
        id(part)
        for part in parts
        if type(part) not in IMMUTABLE
        and not isinstance(part, _WITHOUT_STATE)
        and not (isinstance(part, np.ndarray) and not part.flags.writeable)
    ]
    return items if len(set(known)) == len(known) else list(map(for_attempt, items))
