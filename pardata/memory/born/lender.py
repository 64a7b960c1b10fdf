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
from typing import Any, Final

import numpy as np

from pardata.errors import CapacityError
from pardata.memory.arena import NUMPYS, Arena
from pardata.memory.array import Anchor, anchor
from pardata.memory.born.library import Library
from pardata.memory.budget import Budget
from pardata.memory.gaps import size_class

Array = np.ndarray[Any, Any]

_MOST_AT_ONCE: Final = 8  # blocks of one extent: more are lent each time that there were too few, up to so many
_LEAST_AGE: Final = 50  # requests; results of random sizes come again sooner, most of them
_SHARE: Final = 2  # half of the limit is lent by all workers together
_SHARE_OF_ADDRESSES: Final = 8


class Lender:
    """lend / hand_over / trim: a part of its arena, under whose lock it works and whose words it writes.

    Raises `OSError` if the system refuses to tell of forks.

    Parameters
    ----------
    budget : Budget
        Of `arena`.
    poll : callable
        Takes in the leases that readers have released.
    """

    def __init__(self, arena: Arena, budget: Budget, poll: Callable[[], None]) -> None:
        self._arena = arena
        self._budget = budget
        self._poll = poll
        self._library = Library(arena.segment, arena._start, arena.span.offset + arena.span.size_bytes)
        self._lots: dict[int, int] = {}  # by extent: how many blocks were lent at once the last time
        limit, self._most_addresses = budget.limit_bytes, arena.span.size_bytes // _SHARE_OF_ADDRESSES
        self._most_bytes = min(limit // (_SHARE * budget.spans), self._most_addresses)
        arena.before_growth = self._before_growth

    def _before_growth(self) -> None:
        """Take in what was released, before the arena takes a fresh block; give free ones back where room is short."""
        self._poll()
        if not self._budget.has_room(0) or self._library.kept_bytes() > self._most_addresses:
            self.trim()

    def trim(self) -> None:
        """Give every free block back to the system, also those that NumPy's allocator has."""
        arena, library = self._arena, self._library
        with arena.lock:
            while (block := library.take_back()) is not None:
                arena._free.setdefault(block[1], []).append(block[0])
            arena._usage.reserved_bytes -= library.private_bytes()
            self._lots.clear()
            arena.trim()

    def has_leave(self, extent: int) -> bool:
        """Return whether the budget has room for a block, once it is known what readers have released."""
        if self._budget.allows(extent):
            return True
        with self._arena.lock:
            self._arena._ask_for_memory()
        return self._budget.allows(extent)

    def make_room(self, nbytes: int) -> None:
        """Take in what was released before a block is reserved that the budget would refuse otherwise."""
        if self._arena.on_shortage is None:
            self.has_leave(size_class(nbytes))

    def lend(self) -> None:
        """Lend blocks of the extents of which NumPy has had too few since the last time, if there is room."""
        wanted = self._library.wanted()
        if not wanted:
            return
        arena = self._arena
        self._poll()
        with arena.lock:
            arena.collect()
            for extent in wanted:
                self._lots[extent] = lot = min(2 * self._lots.get(extent, 0) or 1, _MOST_AT_ONCE)
                for _ in range(lot):
                    if not self._lend(extent):
                        break
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

    def _lend(self, extent: int) -> bool:
        if self._library.kept_bytes() + extent > self._most_bytes and not self._exchange(extent):
            return False
        free = self._arena._free.get(extent)
        if not free and not self._budget.has_room(extent):
            return False
        try:
            offset = free.pop() if free else self._arena._carve(extent)
        except CapacityError:  # no addresses: where they are limited
            return False
        if self._library.lend(offset, extent):
            return True
        self._arena._free.setdefault(extent, []).append(offset)
        return False

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
        at = root.__array_interface__["data"][0]
        if not library.start <= at < library.end:
            self.lend()
            return None
        extent = library.live(at)
        if not extent or extent > size_class(nbytes):
            return None
        with arena.lock:
            arena.collect()
            if not self.has_leave(extent) or not library.hand_over(at):
                return None
            arena._usage.live_bytes += extent
            arena._usage.publish()
            if not self._budget.has_room(0):
                self.trim()
        root.setflags(write=False)
        made = anchor(arena.segment.map, at - library.address, extent, arena.dropped, (NUMPYS, extent))
        made.root = root
        return made
