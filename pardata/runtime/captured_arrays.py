"""Large arrays that functions have captured: each is copied into shared memory once, until it changes."""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np

from pardata.memory.layout import is_like, is_overlapping, memory_of, order_of

Array = np.ndarray[Any, Any]

_BLOCK_BYTES: Final = 128 << 10  # compared at a time: what NumPy makes of it stays in the cache
_WORD_BYTES: Final = (1, 2, 4, 8)


class CapturedArrays:
    """keep / find. A copy is kept as long as its array lives; a caller that has found it may keep it for longer."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[Array], Array]] = {}

    def keep(self, array: Array, copy: Array) -> None:
        """Keep `copy`, of `array` as it is now."""
        key, owner = id(array), weakref.ref(self)

        def forget(gone: weakref.ref[Array]) -> None:
            copies = owner()
            if copies is not None and copies._kept.get(key, (None,))[0] is gone:
                copies._kept.pop(key, None)

        self._kept[key] = weakref.ref(array, forget), copy

    def find(self, array: Array) -> Array | None:
        """Return the copy of `array` as it is now; None if there is none, or if it has changed."""
        kept, copy = self._kept.get(id(array), (None, None))
        if kept is None or copy is None or kept() is not array:
            return None
        return copy if _is_equal(array, copy) else None

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()

    def __repr__(self) -> str:
        return f"<CapturedArrays: copies of {len(self._kept)} arrays>"


def _is_equal(array: Array, copy: Array) -> bool:
    """Return whether `copy`, made by its layout, has the same bytes; False also if only another copy could tell."""
    if not is_like(array, copy):
        return False
    array = np.ndarray.view(array, np.ndarray)
    if is_overlapping(array):
        array, copy = memory_of(array), memory_of(copy)
    else:
        order = order_of(array)
        array, copy = array.transpose(order), copy.transpose(order)
    if array.flags.c_contiguous:
        ours, theirs = _words(array), _words(copy)
        step = _BLOCK_BYTES // ours.itemsize
        return all(np.array_equal(ours[at : at + step], theirs[at : at + step]) for at in range(0, len(ours), step))
    if array.itemsize not in _WORD_BYTES:
        return False
    word = f"u{array.itemsize}"
    return np.array_equal(array.view(word), copy.view(word))


def _words(array: Array) -> Array:
    flat = np.ndarray.view(array, np.ndarray).reshape(-1).view(np.uint8)
    return flat.view(np.uint64) if array.nbytes % 8 == 0 else flat
