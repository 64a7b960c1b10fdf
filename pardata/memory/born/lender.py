"""Lends blocks of a worker's arena to NumPy's allocator, and takes them over when their arrays are sent.

A block of the arena is one of these; `born.c` knows those that are lent:

    free       warm: the arena has it, or NumPy's allocator, from which it is taken back when the worker is idle, or
               where there is no room
    born       an array of user code lies in it. It counts as kept memory, not as memory in use: elsewhere it would have
               been ordinary memory, which no limit counts. At most a share of the limit is lent
    in use     handed over, or reserved: counted in both

What was handed over is in NumPy's hands again when its array is freed, and the anchor holds that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from pardata.errors import CapacityError
from pardata.memory.arena import NUMPYS, Arena
from pardata.memory.array import Anchor, anchor
from pardata.memory.born.library import Library
from pardata.memory.budget import Budget
from pardata.memory.data_pointer import data_pointer
from pardata.memory.gaps import size_class

Array = np.ndarray[Any, Any]
Pause = Callable[[Callable[[], bool], float], bool]

_MOST_AT_ONCE: Final = 8  # fresh blocks of one extent
_LEAST_AGE: Final = 50  # requests; results of random sizes come again sooner, most of them
_SHARE: Final = 2  # half of the limit is lent by all workers together
_SHARE_OF_ADDRESSES: Final = 8
_LEAST_AWAITED: Final = 1 << 20  # bytes of a block that is worth a pause
_MOST_OUT: Final = 4  # results that are out before there is one
_PAUSE_S: Final = 1.5e-9  # seconds for each byte: twice what a fresh page costs more than a warm one
_MOST_SKIPS: Final = 63  # pauses that are left out, after others that were in vain


class Lender:
    """lend / hand_over / trim: a part of its arena, under whose lock it works and whose words it writes.

    Raises `OSError` if the system refuses to tell of forks.

    Parameters
    ----------
    budget : Budget
        Of `arena`.
    poll : callable
        Takes in the leases that readers have released.
    pause : callable
        Waits until a function returns true, or so many seconds have passed; returns what it returned last.
    keep_bytes : int
        Freed ordinary memory of very large arrays is kept up to this.
    """

    def __init__(
        self, arena: Arena, budget: Budget, poll: Callable[[], None], pause: Pause, keep_bytes: int = 0
    ) -> None:
        self._arena = arena
        self._budget = budget
        self._poll = poll
        self._pause = pause
        self._short: set[int] = set()  # extents of which the arena had no warm block to lend
        self._vain = self._skips = 0  # pauses that are left out after those in vain; that are still to be left out
        self._library = Library(arena.segment, arena._start, arena.span.offset + arena.span.size_bytes, keep_bytes)
        self._library.enter()
        limit, self._most_addresses = budget.limit_bytes, arena.span.size_bytes // _SHARE_OF_ADDRESSES
        self._most_bytes = min(limit // (_SHARE * budget.spans), self._most_addresses)
        arena.before_growth = self._before_growth

    def _before_growth(self) -> None:
        """Take in what was released, before the arena takes a fresh block; give free ones back where room is short."""
        self._poll()
        if not self._budget.has_room(0) or self._library.kept_bytes() > self._most_addresses:
            self.trim()

    def trim(self) -> None:
        """Give every free block back to the system, also those of NumPy's allocator, and what it keeps besides."""
        arena, library = self._arena, self._library
        library.give_back()
        with arena.lock:
            while (block := library.take_back()) is not None:
                arena._free.setdefault(block[1], []).append(block[0])
            arena._usage.reserved_bytes -= library.private_bytes()
            arena.trim()

    def has_leave(self, extent: int) -> bool:
        """Return whether the budget has room for a block, once it is known what readers have released."""
        if self._budget.allows(extent):
            return True
        with self._arena.lock:
            self._arena._ask_for_memory()
        return self._budget.allows(extent)

    def make_room(self, nbytes: int) -> None:
        """Have a warm block for a copy of `nbytes`, if readers let go of one soon enough.

        Otherwise a fresh one is made, and another is lent: nobody may ever let go of what was sent.
        """
        extent = size_class(nbytes)
        if self._arena.on_shortage is None:
            self.has_leave(extent)
        if not self._has_warm(extent) and not self._wait_for_warm(extent) and extent in self._short:
            self._short.remove(extent)
            with self._arena.lock:
                for _ in range(max(1, min(self._vain, _MOST_AT_ONCE))):
                    self._lend(extent, nbytes)
                self._arena._usage.publish()

    def _wait_for_warm(self, extent: int) -> bool:
        """Wait for a moment if a fresh block costs more than that; return whether there is a warm one then.

        Where several results are out already, the stages behind are slower, and would hold what is made now as well.
        """
        if extent < _LEAST_AWAITED or self._arena._usage.live_bytes < _MOST_OUT * extent:
            return False
        if self._skips:
            self._skips -= 1
            return False
        found = self._pause(partial(self._has_warm, extent), _PAUSE_S * extent)
        self._vain = 0 if found else min(2 * self._vain + 1, _MOST_SKIPS)
        self._skips = self._vain
        return found

    def _has_warm(self, extent: int) -> bool:
        """Return whether the arena has a free block of an extent: one of NumPy's, if it has none itself."""
        arena = self._arena
        with arena.lock:
            arena.collect()
            if not arena._free.get(extent):
                self._poll()
                arena.collect()
            if not arena._free.get(extent) and (offset := self._library.take(extent)) is not None:
                arena._free.setdefault(extent, []).append(offset)
            return bool(arena._free.get(extent))

    def lend(self) -> None:
        """Lend warm blocks of extents of which NumPy has had too few since the last time, as many as were missing."""
        wanted = self._library.wanted()
        if not wanted:
            return
        arena = self._arena
        self._poll()
        with arena.lock:
            arena.collect()
            self._short = {extent for extent in wanted if not self._lend(extent)}
            arena._usage.publish()

    def _exchange(self, extent: int) -> bool:
        """Take back as many bytes of sizes for which nobody has asked for long; return whether there were enough.

        Without that, nothing would be born any more in a worker whose results have become larger or smaller.
        """
        arena, taken = self._arena, 0
        while taken < extent and (block := self._library.take_back(extent, _LEAST_AGE)) is not None:
            offset, size_bytes = block
            taken += size_bytes
            if self._budget.has_room(extent):
                arena._free.setdefault(size_bytes, []).append(offset)
            else:
                arena._give_back(offset, size_bytes)
        return taken >= extent

    def _lend(self, extent: int, fresh: int = 0) -> bool:
        """Lend a warm block, or a fresh one for so many bytes; return whether there was one, or room for one."""
        arena, library = self._arena, self._library
        free = arena._free.setdefault(extent, [])
        if not free and not (fresh and self._budget.has_room(extent)):
            return False
        if library.kept_bytes() + extent > self._most_bytes and not self._exchange(extent):
            return False
        try:
            is_warm = bool(free)
            offset = free.pop() if free else arena._carve(extent)
        except CapacityError:  # no addresses: where they are limited
            return False
        if not is_warm:
            arena.segment.fill(offset, fresh)
        is_lent = library.lend(offset, extent)
        if not is_lent:
            free.append(offset)
        return is_lent

    def hand_over(self, root: Array, nbytes: int) -> Anchor | None:
        """Return the anchor of the block that `root` was born in, which is in use from now on.

        None: it was not born in one; a copy of the `nbytes` that are sent would take less memory; or the budget has no
        room, and the sender is to wait for it as for a copy.

        Parameters
        ----------
        root : array
            Nobody else has it, but for the arrays that are sent. It becomes read-only.
        """
        arena, library = self._arena, self._library
        at = data_pointer(root)
        if not library.start <= at < library.end:
            if size_class(root.nbytes) <= size_class(nbytes):
                library.missed(at, root.nbytes)
            self.lend()
            return None
        extent = library.live(at)
        if not extent or extent > size_class(nbytes):
            return None
        with arena.lock:
            arena.collect()
            # It is live no more if user code has forked since that was asked.
            if not self.has_leave(extent) or not library.hand_over(at):
                return None
            arena._usage.live_bytes += extent
            arena._usage.publish()
            if not self._budget.has_room(0):
                self.trim()
        if not library.has_free(extent):
            self._poll()  # for the next one: what readers have let go of is not known before it is asked for
        root.setflags(write=False)
        made = anchor(arena.segment.map, at - library.address, extent, arena.dropped, (NUMPYS, extent))
        made.root = root
        return made
