"""Copies of containers that hold simple values, arrays and other containers: in a third of the time of a pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pardata.codec.access import IMMUTABLE
from pardata.memory.shared_array import is_array

Array = np.ndarray[Any, Any]
Own = Callable[[list[Any], bool], Array]  # the array in a box as its reader gets it; True: it is not bare

CONTAINERS: Final = (list, tuple, dict)
_MUTABLE: Final = {np.void, np.object_}
# Nobody can change an object of these types.
SIMPLE: Final = IMMUTABLE.union({np.dtype(code).type for code in np.typecodes["All"]} - _MUTABLE)


def is_taken(obj: Any) -> bool:
    """Return whether an object is an array that is copied by itself: none of a subclass, nor of Python objects."""
    return is_array(obj) and not obj.dtype.hasobject


class OtherError(Exception):
    """An object is none of those that `PlainCopy` copies."""


class PlainCopy:
    """A copy of an item in plain containers, with the arrays that `own` returns. Parts that are one object stay one."""

    def __init__(self, own: Own, item: Any) -> None:
        self.nbytes = 0
        self._own = own
        self._made: dict[int, Any] = {}
        self._item = item
        self._is_known = False  # all parts of the item are known to be such

    def of(self, part: Any) -> Any:
        """Return the copy of a part of the item, or of the whole; raises `OtherError` before an array is copied."""
        kind = type(part)
        if kind in SIMPLE or (kind is tuple and SIMPLE.issuperset(map(type, part))):
            return part
        made = self._made.get(id(part))
        if made is not None:
            return made
        if kind is list or (kind is dict and SIMPLE.issuperset(map(type, part))):
            made = self._made[id(part)] = part.copy()
            values = part if kind is list else part.values()
            if not SIMPLE.issuperset(map(type, values)):
                copies = map(self.of, values)
                made.update(zip(part, copies, strict=True)) if kind is dict else made.__setitem__(slice(None), copies)
            return made
        if kind is tuple:
            made = tuple(map(self.of, part))
        elif not is_taken(part):
            raise OtherError
        else:
            self._check()
            made = self._own([part], False)
            self.nbytes += made.nbytes
        return self._made.setdefault(id(part), made)

    def _check(self) -> None:
        """Raise `OtherError` if a part of the item is no container, no array and no simple value."""
        waiting = [] if self._is_known else [self._item]
        seen = set()
        while waiting:
            part = waiting.pop()
            kind = type(part)
            if kind in CONTAINERS:
                if id(part) not in seen:
                    seen.add(id(part))
                    waiting += [*part, *part.values()] if kind is dict else part
            elif kind not in SIMPLE and not is_taken(part):
                raise OtherError
        self._is_known = True
