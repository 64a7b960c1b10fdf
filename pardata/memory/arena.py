"""The allocator of one process over its own span of the segment.

Only the owner of a span allocates and frees in it, so nothing here is shared and nothing is locked across processes.
A block is free again when its anchor dies: while the owner or its user code holds a view, or a lease that was given to
another process is still out (the channel then holds the anchor), it cannot be reused.

    reserve  ->  anchor  -- published by a channel (committed): the lease holds the anchor until it is released
                         -- last view dropped (aborted, or released): back to the free list of its size

A span, from its beginning:

    HEADER_BYTES    HEADER_WORDS words (q): `budget.py` names those that count memory, `runtime/header.py` the others
    control areas   state, channels and leases, whose places the plan of a run or pool gives
    the arena       from the next multiple of 2 MiB on: blocks, by size class

Free blocks are kept warm: a fresh page costs 9 to 40 times as much as a recycled one. They are kept per size class,
last in first out, within the budget; an idle worker gives them back. The main process has no loop that could notice
that it is idle, so its arena keeps as many free bytes as are in use (and `kept_bytes` at least) and gives the rest back
at once, in the finalizer of the array whose memory exceeds that.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pardata.errors import CapacityError
from pardata.memory.array import Anchor, anchor
from pardata.memory.budget import LIVE, RESERVED, Budget
from pardata.memory.gaps import Gaps, align, size_class
from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES, Segment

HEADER_BYTES: Final = PAGE_BYTES
HEADER_WORDS: Final = HEADER_BYTES // 8
NUMPYS: Final = -1  # in place of an offset: NumPy's allocator has the block back (`memory.born`)


@dataclass(frozen=True)
class Span:
    """A contiguous part of the segment that one process owns: header, control areas and arena, in bytes."""

    offset: int
    size_bytes: int

    def words(self, segment: Segment, offset: int = 0, count: int = HEADER_WORDS) -> memoryview:
        """Return `count` 64-bit words, `offset` bytes behind the span's beginning."""
        start = self.offset + offset
        return memoryview(segment.map)[start : start + 8 * count].cast("q")


class _Lock:
    """A re-entrant lock that can also be entered only if no thread, this one included, is inside."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        self._lock.release()

    def try_alone(self) -> bool:
        """Enter if no thread is inside, this one included; return whether it did."""
        if not self._lock.acquire(blocking=False):
            return False
        if self._depth:  # this thread's own, if a finalizer has come between two lines of it: the lock lets it in again
            self._lock.release()
            return False
        self._depth = 1
        return True


class _Dropped(deque[tuple[int, int]]):
    """Blocks whose anchors have died; those beyond the arena's `kept_bytes` go back to the system at once."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self._arena = weakref.ref(arena)

    def append(self, block: tuple[int, int], /) -> None:
        super().append(block)
        arena = self._arena()
        if arena is not None:
            arena.relieve()


class _Usage:
    """The bytes that an arena has in use: counted here, published in the words LIVE and RESERVED of its span's header.

    The words alone would not do: a child that user code forks shares that page with this process, but drops arrays of
    its own copy of the arena.
    """

    def __init__(self, header: memoryview) -> None:
        self._header = header
        self.live_bytes = self.reserved_bytes = 0

    def publish(self) -> None:
        header = self._header
        header[LIVE] = self.live_bytes
        header[RESERVED] = self.reserved_bytes


class Arena:
    """reserve / release over ``[span.offset + control_bytes, span's end)``.

    Parameters
    ----------
    kept_bytes : int, optional
        Free bytes that are kept for reuse in any case; beyond them, as many as are live. None: all, until `trim`.
    live : (offset, extent) pairs in bytes
        Blocks of a dead predecessor that are still out on lease; all other pages are given back to the system.
    """

    def __init__(
        self,
        segment: Segment,
        span: Span,
        control_bytes: int,
        budget: Budget | None,
        who: str,
        live: Iterable[tuple[int, int]] = (),
        kept_bytes: int | None = None,
    ) -> None:
        self.segment = segment
        self.span = span
        self.budget = budget
        self.who = who
        self.before_growth: Callable[[], None] | None = None  # takes in the leases that readers have released
        # Waits until another process may have freed memory (extent in bytes); returns whether the limit may be passed.
        self.on_shortage: Callable[[int], bool] | None = None
        self.is_held: Callable[[int, int], bool] | None = None  # (offset, extent): whether another process needs it
        self._held: list[tuple[int, int]] = []  # blocks that were dropped here while another process needed them
        self._usage = usage = _Usage(span.words(segment))
        self.lock = _Lock()  # user code may have threads of its own
        self._kept_bytes = kept_bytes
        self.dropped: deque[tuple[int, int]] = deque() if kept_bytes is None else _Dropped(self)
        self._free: dict[int, list[int]] = {}
        self._gaps = Gaps()
        self._start = start = span.offset + align(control_bytes, HUGE_PAGE_BYTES)
        end = span.offset + span.size_bytes
        for offset, extent in sorted(set(live)):
            usage.live_bytes += extent
            self._gaps.add(start, offset - start)
            start = offset + extent
        self._gaps.add(start, end - start)
        for offset, size in self._gaps.ranges:
            segment.punch(offset, size)  # what a predecessor has left there
        usage.reserved_bytes = usage.live_bytes
        usage.publish()

    def reserve(self, nbytes: int, *, zeroed: bool = False, is_filled: bool = True) -> Anchor:
        """Return the anchor of a writable block of at least `nbytes`, contents undefined or `nbytes` zeros.

        Zeros cost nothing where no block of that size is warm. `is_filled`: the caller writes all of `nbytes`.
        Raises `CapacityError` and changes nothing if the budget or the span has no room.
        """
        extent = size_class(nbytes)
        may_pass = False
        while (taken := self._take(extent, may_pass)) is None:
            assert self.on_shortage is not None
            may_pass = self.on_shortage(extent)  # without the lock, which the threads of user code need
        offset, is_warm = taken
        block = self.adopt(offset, extent)
        if is_filled and not (is_warm or zeroed):
            self.segment.fill(offset, nbytes)
        if zeroed and is_warm:
            block[:nbytes] = 0
        return block

    def _take(self, extent: int, may_pass: bool) -> tuple[int, bool] | None:
        """Return an offset, and whether its block is warm; None if the budget has no room, and `on_shortage` waits."""
        with self.lock:
            self.collect()
            if not self._free.get(extent):  # to ask costs system calls, which a warm block of this size needs not
                self._ask_for_memory()
            if self.budget is not None and not may_pass:
                if self.on_shortage is None:
                    self.budget.check(extent, self.who)
                elif not self.budget.allows(extent):  # asked once: another process may take the rest meanwhile
                    return None
            free = self._free.get(extent)
            is_warm = bool(free)
            offset = free.pop() if free else self._carve(extent)  # killed behind this: a gap to the successor
            self._usage.live_bytes += extent
            self._usage.publish()
            return offset, is_warm

    def adopt(self, offset: int, extent: int) -> Anchor:
        """Return a new anchor of a block that is already counted as live."""
        return anchor(self.segment.map, offset, extent, self.dropped, (offset, extent))

    def _ask_for_memory(self) -> None:
        if self.before_growth is not None:
            self.before_growth()
        self._collect_all()

    def collect(self) -> None:
        """Take back the blocks whose anchors have died since the last time."""
        if not self.dropped:
            return
        usage = self._usage
        with self.lock:
            while self.dropped:
                offset, extent = self.dropped.popleft()  # finalizers append meanwhile, in any thread: a deque allows it
                if self.is_held is not None and self.is_held(offset, extent):
                    self._held.append((offset, extent))
                    continue
                usage.live_bytes -= extent
                if offset == NUMPYS:  # its bytes alone are counted here
                    continue
                if self.budget is not None and not self.budget.has_room(0):  # others are in want
                    self._give_back(offset, extent)
                else:
                    self._free.setdefault(extent, []).append(offset)
            if self._kept_bytes is not None:
                self._shrink(max(self._kept_bytes, usage.live_bytes))
            usage.publish()

    def _collect_all(self) -> None:
        """Collect, also of the blocks that another process needed the last time."""
        self.dropped.extend(self._held)
        self._held.clear()
        self.collect()

    def relieve(self) -> None:
        """In a finalizer, collect, unless a thread is at work here: it collects, or the next one does."""
        if self.lock.try_alone():
            try:
                self.collect()
            finally:
                self.lock.__exit__()

    def _shrink(self, most_bytes: int) -> None:
        """Give free blocks back to the system, the largest first, until `most_bytes` of them are left."""
        for extent in sorted(self._free, reverse=True) if self.free_bytes > most_bytes else ():
            offsets = self._free[extent]
            while offsets and self.free_bytes > most_bytes:
                self._give_back(offsets.pop(), extent)

    def trim(self) -> None:
        """Give every free block back to the system."""
        with self.lock:
            self._collect_all()
            self._shrink(0)
            self._usage.publish()

    def live_ranges(self) -> list[tuple[int, int]]:
        """Return (offset, extent) of all that is neither free nor a gap; neighbours may be one range."""
        with self.lock:
            self.collect()
            free = [(offset, extent) for extent, offsets in self._free.items() for offset in offsets]
            ranges = []
            start = self._start
            for offset, extent in [*sorted([*free, *self._gaps.ranges]), (self.span.offset + self.span.size_bytes, 0)]:
                if offset > start:
                    ranges.append((start, offset - start))
                start = offset + extent
            return ranges

    @property
    def free_bytes(self) -> int:
        """Warm bytes that are kept for reuse."""
        return self._usage.reserved_bytes - self._usage.live_bytes

    def _carve(self, extent: int) -> int:
        if self.budget is not None and not self.budget.has_room(extent):
            self.trim()
        offset = self._gaps.take(extent)
        if offset is None:
            raise CapacityError(
                f"{self.who}: {extent} bytes do not fit: all its arrays together may have {self.span.size_bytes} bytes "
                f"of addresses, of which {self._usage.live_bytes} are in use"
            )
        self.segment.prepare(offset, extent)
        self._usage.reserved_bytes += extent
        return offset

    def _give_back(self, offset: int, extent: int) -> None:
        self.segment.punch(offset, extent)
        self._usage.reserved_bytes -= extent
        self._gaps.add(offset, extent)

    def statistics(self) -> dict[str, int]:
        """Return live_bytes, free_bytes and the number of free blocks."""
        with self.lock:
            self.collect()
            blocks = sum(map(len, self._free.values()))
            return {"live_bytes": self._usage.live_bytes, "free_bytes": self.free_bytes, "free_blocks": blocks}

    def __repr__(self) -> str:
        return f"<Arena of {self.who}: {self._usage.live_bytes} bytes live, {self.free_bytes} free>"
