"""Large arrays that functions have captured: each is copied into shared memory once, until it changes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np

from pardata.memory.data_pointer import data_pointer
from pardata.memory.layout import is_like, is_overlapping, memory_of, order_of
from pardata.process.system import libc
from pardata.runtime.library_limits import usable_cores

Array = np.ndarray[Any, Any]

_PART_BYTES: Final = 8 << 20  # worth a thread, which takes a tenth of the time of the comparison to start
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
    if array.flags.c_contiguous and copy.flags.c_contiguous:
        return _is_same_memory(data_pointer(array), data_pointer(copy), array.nbytes)
    if array.itemsize not in _WORD_BYTES:
        return False
    word = f"u{array.itemsize}"
    return np.array_equal(array.view(word), copy.view(word))


def _is_same_memory(ours: int, theirs: int, nbytes: int) -> bool:
    """Return whether the bytes at two addresses are the same. All cores compare large ones: one alone waits for memory.

    The workers have no task of the caller's before it is known that its function is the same.
    """
    parts = min(usable_cores(), nbytes // _PART_BYTES)
    compare = _memcmp()
    if parts < 2:
        return compare(ours, theirs, nbytes) == 0
    step = -(-nbytes // parts)

    def is_same(at: int) -> bool:
        return compare(ours + at, theirs + at, min(step, nbytes - at)) == 0

    try:
        with ThreadPoolExecutor(parts, "pardata-compare") as threads:
            return all(list(threads.map(is_same, range(0, nbytes, step))))
    except RuntimeError:  # the system has no thread
        return compare(ours, theirs, nbytes) == 0


@cache
def _memcmp() -> Callable[[int, int, int], int]:
    import ctypes

    address, size = ctypes.c_void_p, ctypes.c_size_t
    made: Callable[[int, int, int], int] = ctypes.CFUNCTYPE(ctypes.c_int, address, address, size)(("memcmp", libc()))
    return made
