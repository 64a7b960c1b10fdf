"""The leases that one process has given out: which block, over which channel, in which message.

The table lies in its owner's span, so it survives its owner: a successor reads from it which blocks are still out. Only
the owner writes it, row by row, the stamp last; readers give leases back by message.

      word   0       1         2         3  4  5    6        7
           | stamp | channel | message | origin  | offset | extent |      one row, 64 bits a word

Rows are used from the front and never return to zeros, so the first row of zeros behind its stamp is the end.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pardata.memory.array import Anchor, Drop
from pardata.memory.budget import CONTROL
from pardata.memory.segment import PAGE_BYTES

ROWS: Final = 1 << 17  # 8 MiB of addresses; memory only for the rows that were used
ROW_WORDS: Final = 8
_STAMP: Final = 0  # above 0: given out, no other row of this table has had it; below 0: released; 0: never used
_CHANNEL: Final = 1  # index among the outgoing channels of the owner
_MESSAGE: Final = 2  # stamp of the message there; one that was never published gives nothing out
_ORIGIN: Final = 3  # the `Lease` on which the owner holds the block itself: its channel (or OWN, BORROWED),
_ORIGIN_ROW: Final = 4  # its row,
_ORIGIN_STAMP: Final = 5  # and its stamp
_OFFSET: Final = 6  # the block: offset in the segment and extent, in bytes
_EXTENT: Final = 7
_PAGE_ROWS: Final = PAGE_BYTES // (8 * ROW_WORDS)
TABLE_BYTES: Final = ROWS * ROW_WORDS * 8

# In place of a channel in an origin: the block lies in the owner's arena, or the owner has it from something in this
# process that a successor would not have.
OWN: Final = -1
BORROWED: Final = -2


class Lease(NamedTuple):
    """A lease as its reader knows it: the channel among its incoming ones, and the giver's row and stamp."""

    channel: int
    row: int
    stamp: int


class Returns:
    """The messages that a receiver owes its sender; its anchors drop their leases here.

    Attributes
    ----------
    leases : list of Lease
        Those that have ended.
    settled : list of int
        Pairs of words, see `channel`.
    reports : list of bytes
        Messages about leases; they go before pairs that were settled later.
    """

    __slots__ = ("append", "leases", "reports", "settled")

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.append: Callable[[Lease], None] = self.leases.append
        self.settled: list[int] = []
        self.reports: list[bytes] = []

    def redirect(self, drop: Drop) -> None:
        """Have `drop` get all leases from now on, and those that are in the list."""
        self.append = drop.append
        while self.leases:
            drop.append(self.leases.pop())


class HeldBlocks:
    """The blocks that one receiver holds on leases.

    Attributes
    ----------
    memory : mmap
        In which they lie.
    live : dict
        Per lease, offset and extent of its block in bytes.
    recovered : dict
        Blocks that a dead predecessor has passed on: a lease has one anchor, also if its message is read again.
    """

    __slots__ = ("live", "memory", "recovered")

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.live: dict[Lease, tuple[int, int]] = {}
        self.recovered: dict[Lease, Anchor] = {}


class Row(NamedTuple):
    """A row as a successor reads it: the block, its origin, and the message that carries it."""

    row: int
    stamp: int
    channel: int
    message: int
    origin: Lease  # channel is OWN, BORROWED, or the incoming channel on which the block was borrowed
    offset: int
    extent_bytes: int


class LeaseTable:
    """give / release; for a successor `rows` and `restore`.

    The memory that it takes is counted in `header`, the words of its owner's span.
    """

    def __init__(self, words: memoryview, header: memoryview) -> None:
        self._words = words
        self._header = header
        # By row. They are of this process alone: a successor makes new ones from the words (`restore`).
        self._anchors: dict[int, Anchor] = {}
        self._free: list[int] = []
        self._top = 0
        self._stamp = 0

    def give(self, block: Anchor, channel: int, message: int, origin: Lease) -> Lease:
        """Record that `message` on `channel` carries `block`, which stays alive until `release`."""
        if self._free:
            row = self._free.pop()
        else:
            row = self._top
            self._top += 1
            if not row % _PAGE_ROWS:
                self._header[CONTROL] += PAGE_BYTES  # killed here: the successor counts the page again
        # While the other words change, the stamp is 0 or that of a lease which was released: the row does not count.
        self._stamp += 1
        at, words = row * ROW_WORDS, self._words
        words[at + _CHANNEL], words[at + _MESSAGE] = channel, message
        words[at + _ORIGIN], words[at + _ORIGIN_ROW], words[at + _ORIGIN_STAMP] = origin
        words[at + _OFFSET], words[at + _EXTENT] = block.offset, block.extent_bytes
        words[at + _STAMP] = self._stamp  # SYNC POINT: lease. The row counts from here on, if its message is published
        block.live_rows += 1
        self._anchors[row] = block
        return Lease(channel, row, self._stamp)

    @property
    def room(self) -> int:
        """The number of leases that can still be given."""
        return ROWS - len(self._anchors)

    def release(self, row: int, stamp: int) -> None:
        """End a lease. To end one twice is harmless: a successor may repeat the steps of its predecessor."""
        at = row * ROW_WORDS + _STAMP
        if self._words[at] != stamp or row not in self._anchors:
            return
        self._words[at] = -stamp  # and not 0: a successor sees which stamps were given, and gives none twice
        self._free.append(row)
        self._anchors.pop(row).live_rows -= 1

    def blocks(self) -> list[Anchor]:
        """Return the blocks that are out on lease."""
        return list(self._anchors.values())

    def clear(self) -> None:
        """Let go of every block: the run is over."""
        self._anchors.clear()

    def on_channel(self, channel: int) -> list[tuple[int, int, int]]:
        """Return (row, stamp, message) of every lease given over `channel`."""
        words = self._words
        return [
            (row, words[row * ROW_WORDS + _STAMP], words[row * ROW_WORDS + _MESSAGE])
            for row in self._anchors
            if words[row * ROW_WORDS + _CHANNEL] == channel
        ]

    def rows(self) -> Iterator[Row]:
        """Yield the rows that a dead predecessor has given out.

        SYNC POINT: lease. One of a message that was never published is among them: the caller knows the last stamps.
        """
        for row in range(self._used_rows()):
            stamp, channel, message, *origin, offset, extent = self._words[row * ROW_WORDS : (row + 1) * ROW_WORDS]
            if stamp > 0:
                yield Row(row, stamp, channel, message, Lease(*origin), offset, extent)

    def _used_rows(self) -> int:
        """Return how many rows were ever written, the stamp of the last one maybe missing."""
        words = self._words  # without the stamp; the last word, the extent, is never 0 in a row that was written
        return next(
            (row for row in range(ROWS) if not any(words[row * ROW_WORDS + _CHANNEL : (row + 1) * ROW_WORDS])), ROWS
        )

    def restore(self, rows: dict[int, Anchor]) -> None:
        """Take over the rows of a dead predecessor, with new anchors; every other row is free."""
        words = self._words
        self._top = self._used_rows()
        # Above all that were ever given: what the receiver tells of a row of old is not to release a new one.
        self._stamp = max((abs(words[row * ROW_WORDS + _STAMP]) for row in range(self._top)), default=0) + 1
        for row in range(self._top):
            if row in rows:
                self._anchors[row] = rows[row]
                rows[row].live_rows += 1
            else:
                # One whose stamp was not stored any more keeps its 0, and is free as well.
                words[row * ROW_WORDS + _STAMP] = -abs(words[row * ROW_WORDS + _STAMP])
                self._free.append(row)

    def __len__(self) -> int:
        return len(self._anchors)

    def __repr__(self) -> str:
        return f"<LeaseTable: {len(self)} leases out>"
