"""Large arrays that functions have captured: each is copied into shared memory once, until it changes."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np

from pardata.memory.data_pointer import data_pointer
from pardata.memory.layout import is_like, is_overlapping, memory_of, order_of
from pardata.memory.page_watch import PageWatch
from pardata.process.system import libc
from pardata.runtime.library_limits import usable_cores

Array = np.ndarray[Any, Any]

_PART_BYTES: Final = 8 << 20  # worth a thread, which takes a tenth of the time of the comparison to start
_UNWATCHED: Final = 2  # an array that changes in every call is compared in the call that copies it, and in the next
_MOST_UNWATCHED: Final = 63
_SETTLE_S: Final = 0.02  # many times as long as a system call of another process that writes here holds a page
_WORD_BYTES: Final = (1, 2, 4, 8)


class CapturedArrays:
    """keep / find. A copy is kept as long as its array lives; a caller that has found it may keep it for longer."""

    def __init__(self) -> None:
        self._kept: dict[int, _Kept] = {}

    def keep(self, array: Array, copy: Array) -> None:
        """Keep `copy`, of `array` as it is now."""
        key, owner = id(array), weakref.ref(self)

        def forget(gone: weakref.ref[Array]) -> None:
            copies = owner()
            if copies is not None:
                kept = copies._kept.get(key)
                # The id may be that of a later array by now, whose copy stays.
                if kept is not None and kept.array is gone:
                    copies._kept.pop(key, None)

        self._kept[key] = _Kept(weakref.ref(array, forget), copy)

    def find(self, array: Array) -> Array | None:
        """Return the copy of `array` as it is now; None if there is none, or if it has changed."""
        kept = self._kept.get(id(array))
        if kept is None or kept.array() is not array:
            return None
        return kept.copy if kept.is_same(array) else None

    def clear(self) -> None:
        """Let go of all."""
        self._kept.clear()

    def __repr__(self) -> str:
        return f"<CapturedArrays: copies of {len(self._kept)} arrays>"


class _Kept:
    """An array and its copy.

    The pages of a large array that stays the same are watched, from the third call on: as long as none is written it
    goes on being the same. Two comparisons come first. The watch begins in front of the one; the other, in a later
    call, sees what another process was writing here at that moment. If pages are written though nothing changes, the
    watch is left out of the next 1, 3, 7 ... 63 calls: with it the first write to a page takes 1.4 us more.
    """

    def __init__(self, array: weakref.ref[Array], copy: Array) -> None:
        self.array = array
        self.copy = copy
        self._lock = threading.Lock()  # never waited for: a handler of signals may come in between
        self._watch: PageWatch | None = None
        self._begun_s = math.inf  # of `time.monotonic`: when the watch began
        self._is_sure = False  # the copy was the same as the array while the watch lasted
        self._wait = _UNWATCHED
        self._pause = 0

    def is_same(self, array: Array) -> bool:
        """Return whether the array is as it was copied; False also if only another copy could tell."""
        if not is_like(array, self.copy):
            return False
        ours, theirs = _packed(array, self.copy)
        if not (ours.flags.c_contiguous and theirs.flags.c_contiguous):
            return _is_equal(ours, theirs)
        where = data_pointer(ours), data_pointer(theirs), ours.nbytes
        if ours.nbytes < _PART_BYTES or not self._lock.acquire(False):
            return _is_same_memory(*where)
        try:
            return self._is_same_watched(*where)
        finally:
            self._lock.release()

    def _is_same_watched(self, ours: int, theirs: int, nbytes: int) -> bool:
        watch = self._watch
        is_untouched = watch is not None and watch.is_of(ours, nbytes) and watch.is_untouched()
        if watch is not None and is_untouched and self._is_sure:
            self._wait = self._pause = 0
            end = watch.end - ours
            compare = _memcmp()  # the pages at both ends have other things on them, and are not watched
            return not (compare(ours, theirs, watch.begin - ours) or compare(ours + end, theirs + end, nbytes - end))
        self._is_sure = False
        if not is_untouched:
            self._begin_watch(ours, nbytes)
        is_settled = time.monotonic() >= self._begun_s + _SETTLE_S
        is_same = _is_same_memory(ours, theirs, nbytes)
        self._is_sure = is_same and is_untouched and is_settled
        return is_same

    def _begin_watch(self, ours: int, nbytes: int) -> None:
        """Watch the pages of the array from now on, if it is time to."""
        if self._wait:
            self._wait -= 1
            return
        self._wait = self._pause = min(2 * self._pause + 1, _MOST_UNWATCHED)
        try:
            if self._watch is None or not self._watch.is_of(ours, nbytes):
                self._watch = PageWatch(ours, nbytes)
            self._begun_s = math.inf  # until it has begun, wherever this is interrupted
            self._watch.start()
            self._begun_s = time.monotonic()
        except OSError:  # it is compared each time
            self._watch = None


def _packed(array: Array, copy: Array) -> tuple[Array, Array]:
    """Return both with their entries in the order of their addresses."""
    array = np.ndarray.view(array, np.ndarray)
    if is_overlapping(array):
        return memory_of(array), memory_of(copy)
    order = order_of(array)
    return array.transpose(order), copy.transpose(order)


def _is_equal(array: Array, copy: Array) -> bool:
    """Return whether both have the same bytes, with gaps between them."""
    if array.itemsize not in _WORD_BYTES:
        return False
    word = f"u{array.itemsize}"
    return np.array_equal(array.view(word), copy.view(word))


def _is_same_memory(ours: int, theirs: int, nbytes: int) -> bool:
    """Return whether the bytes at two addresses are the same. All cores compare large ones: one alone waits for memory.

    The workers have no task of the caller's before it is known that its function is the same.
    """
    parts = nbytes // _PART_BYTES
    if parts > 1:
        parts = min(usable_cores(), parts)  # which reads files of the system: as long as to compare a megabyte
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
