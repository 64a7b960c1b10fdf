"""Arrays that NumPy makes in the main process while `in_shared_memory` is entered: they lie in blocks.

    in_shared_memory   the allocator carves blocks out of one range of the main process's arena
    Reception          the same for what comes over a network
    find_anchor        of such an array is made when it is asked for: it holds the array, as long as a run or a pool,
                       or a reader of theirs, has it
    the array dies     its block is used again inside of the `with`; outside of it, its pages go back at once

Until a run has one, it is the process's own memory: no limit counts it, and a fork makes it private.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import numpy as np

from pardata.errors import CapacityError
from pardata.memory.array import Anchor, anchor, set_adopt
from pardata.memory.born.library import Library, why_not
from pardata.memory.budget import available_bytes
from pardata.memory.data_pointer import data_pointer
from pardata.memory.gaps import align
from pardata.memory.segment import HUGE_PAGE_BYTES
from pardata.memory.shared_heap import in_worker, shared_heap
from pardata.process.system import at_fork

Array = np.ndarray[Any, Any]

_SHARE: Final = 2  # half of what is available: as much as a run may have without `memory_limit`
_SHARE_OF_ADDRESSES: Final = 4


class _Returned(deque[tuple[int, int]]):
    """Blocks whose anchors have died: `count_returned` says so to the allocator, and counts them no more."""

    def __init__(self, nursery: Nursery) -> None:
        super().__init__()
        self._nursery = nursery

    def append(self, block: tuple[int, int], /) -> None:
        super().append(block)
        self._nursery.relieve()


class Nursery:
    """open / enter / leave / close / adopt: blocks for NumPy's arrays in the main process's arena; one in a process.

    Raises `OSError` if the system refuses to tell of forks.
    """

    def __init__(self) -> None:
        self._arena = arena = shared_heap().arena
        self._library = Library(arena.segment, arena._start, arena.span.offset + arena.span.size_bytes, 0)
        self._entered = 0
        self._range = (0, 0)  # offset and size of the last one, bytes
        self._anchors: weakref.WeakValueDictionary[int, Anchor] = weakref.WeakValueDictionary()
        self._returned = _Returned(self)

    def open(self) -> None:
        """Have a range for blocks, until `close` was called as often as this."""
        with self._arena.lock:
            if not self._entered:
                self._collect()
                self._begin()
            self._entered += 1

    def enter(self) -> object:
        """Have arrays of this thread (and context) born in blocks while it is open; return what `leave` is given."""
        return self._library.enter()

    def leave(self, before: object) -> None:
        """Have NumPy's arrays of this thread elsewhere again; those that are there stay."""
        self._library.leave(before)

    def close(self) -> None:
        """Give what is left of the range back; the arrays that are there stay."""
        with self._arena.lock:
            self._entered -= 1
            if not self._entered:
                # Nothing more is carved from here on, and what was not carved is a gap again.
                left = self._library.carve_in(0, 0)
                offset, size = self._range
                if size:
                    self._arena._gaps.add(left, offset + size - left)
                self._collect()

    def _begin(self) -> None:
        arena = self._arena
        size = min(available_bytes() // _SHARE, arena.span.size_bytes // _SHARE_OF_ADDRESSES)
        size = align(size, HUGE_PAGE_BYTES)
        offset = arena._gaps.take(size) if size else None
        self._range = (0, 0) if offset is None else (offset, size)
        self._library.carve_in(*self._range)

    def _collect(self) -> None:
        """Give the blocks whose arrays have died back to the arena."""
        self.count_returned()
        while (block := self._library.take_back()) is not None:
            self._arena.segment.punch(*block)
            self._arena._gaps.add(*block)

    def adopt(self, root: Array) -> Anchor | None:
        """Return the anchor of the block that `root` was born in; None: it was not."""
        arena, library = self._arena, self._library
        at = data_pointer(root)
        if not library.start <= at < library.end:
            return None
        with arena.lock:
            known = self._anchors.get(at)
            if known is not None:
                return known
            self.count_returned()
            extent = library.live(at)
            if not extent or not library.hand_over(at):
                return None
            offset = at - library.address
            self._count(extent)
            made = anchor(arena.segment.map, offset, extent, self._returned, (offset, extent))
            made.root = root
            self._anchors[at] = made
            return made

    def relieve(self) -> None:
        """Do it in a finalizer, unless a thread is at work in the arena: the next `adopt` or `open` does it then."""
        if self._arena.lock.try_alone():
            try:
                self.count_returned()
            finally:
                self._arena.lock.__exit__()

    def count_returned(self) -> None:
        """Count blocks no more that nobody but this process has any longer."""
        while self._returned:
            offset, extent = self._returned.popleft()
            self._library.return_(self._library.address + offset)
            self._count(-extent)

    def _count(self, extent: int) -> None:
        usage = self._arena._usage
        usage.live_bytes += extent
        usage.reserved_bytes += extent
        usage.publish()


_lock = threading.Lock()
_nursery: Nursery | None = None
_has_failed = False


def _open() -> Nursery | None:
    """Return the nursery of this process, made at the first call; None: where arrays are not born in blocks."""
    global _nursery, _has_failed
    with _lock:
        if _nursery is None and not _has_failed and not in_worker() and why_not() is None:
            try:
                _nursery = Nursery()
                set_adopt(_nursery.adopt)
            except (OSError, CapacityError):  # a run or a pool with processes says why
                _has_failed = True
        return _nursery


def _forget() -> None:
    """In a forked child, have arrays born in ordinary memory: the allocator that is open is the parent's."""
    global _lock, _nursery, _has_failed
    _lock, _has_failed = threading.Lock(), _has_failed or _nursery is not None
    _nursery = None
    set_adopt(None)


at_fork(after_in_child=_forget)


@contextmanager
def _entered() -> Iterator[None]:
    nursery = _open()
    if nursery is None:
        yield
        return
    nursery.open()
    before = nursery.enter()
    try:
        yield
    finally:
        nursery.leave(before)
        nursery.close()


class Reception:
    """Arrays of chosen tasks of event loops are born in blocks, until `close`: those that a connection is read into.

    A ``with`` would hold for one step of a task that is not pardata's. Where arrays are not born in blocks, nothing
    happens.
    """

    def __init__(self) -> None:
        self._nursery = _open()
        if self._nursery is not None:
            self._nursery.open()

    def enter(self) -> None:
        """Have arrays of the calling task, and of those that it begins, born in blocks from now on."""
        if self._nursery is not None:
            self._nursery.enter()

    def close(self) -> None:
        """Have them born elsewhere; a second call does nothing."""
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.close()


def in_shared_memory() -> AbstractContextManager[None]:
    """Have the arrays that NumPy makes in this thread inside of the ``with`` lie in shared memory.

    What `numpy.load`, `numpy.stack`, an image reader or arithmetic return there - arrays of 64 KiB and more that own
    their memory - goes into sources, `map_array` and functions that capture it without a copy, as arrays of
    `pardata.array` do: all workers have the same memory, and see what the main process writes to it. Such arrays
    are ordinary ones otherwise. They may be used after the ``with``; their memory is given back when they are gone.

    Half of the available memory at the most is used so. What does not fit, arrays of other threads, and those that
    NumPy's allocator does not make (`fromiter`, memory-mapped files, torch) lie in ordinary memory, and are copied when
    they are sent. So is everything in a worker, and where `python -m pardata info` says that arrays are not born in
    shared memory. A fork (`os.fork`, `multiprocessing` with "fork") makes ordinary memory of the arrays that are there,
    which takes as long as a copy, unless a run or a pool is using them.

    Examples
    --------
    >>> with pardata.in_shared_memory():
    ...     volume = np.full((1000, 1000), 4.0)
    >>> with pardata.WorkerPool(1) as pool:
    ...     roots = pool.map_array(np.sqrt, volume)
    >>> float(roots.sum())
    2000000.0
    """
    return _entered()
