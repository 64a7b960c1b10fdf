"""The leases that one process has given out: which block, over which channel, in which message.

The table lies in its owner's span, so it survives its owner: a replacement reads what is still out. Only the owner
writes it, row by row, the stamp last (negative: released); readers give leases back by message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from pardata.memory.array import Anchor
from pardata.memory.budget import CONTROL
from pardata.memory.segment import PAGE_BYTES

ROWS: Final = 1 << 17
ROW_WORDS: Final = 8
_PAGE_ROWS: Final = PAGE_BYTES // (8 * ROW_WORDS)
TABLE_BYTES: Final = ROWS * ROW_WORDS * 8

OWN, BORROWED = -1, -2  # origin of a block: this arena / something in this process that a successor would not have


class Lease(NamedTuple):
    """A reader's side of a lease: on which of its channels, and the giver's row and stamp."""

    channel: int
    row: int
    stamp: int


class Row(NamedTuple):
    """A row as a successor reads it: where the block came from and where it went."""

    row: int
    stamp: int
    channel: int
    message: int
    origin: Lease  # channel is OWN, BORROWED, or the incoming channel on which the block was borrowed
    offset: int
    extent_bytes: int


class LeaseTable:
    """give / release, and what a successor needs: `rows` and `restore`.

    What memory it takes is counted in `header`, the words of its owner's span.
    """

    def __init__(self, words: memoryview, header: memoryview) -> None:
        self._words = words
        self._header = header
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
                self._header[CONTROL] += PAGE_BYTES
        self._stamp += 1
        at, words = row * ROW_WORDS, self._words
        words[at + 1], words[at + 2] = channel, message
        words[at + 3], words[at + 4], words[at + 5] = origin
        words[at + 6], words[at + 7] = block.offset, block.extent_bytes
        words[at] = self._stamp  # the row counts from here on
        block.live_rows += 1
        self._anchors[row] = block
        return Lease(channel, row, self._stamp)

    @property
    def room(self) -> int:
        """How many leases can still be given."""
        return ROWS - len(self._anchors)

    def release(self, row: int, stamp: int) -> None:
        """End a lease. Giving the same one back twice is harmless: a successor may repeat what the dead one did."""
        if self._words[row * ROW_WORDS] != stamp or row not in self._anchors:
            return
        self._words[row * ROW_WORDS] = -stamp
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
            (row, words[row * ROW_WORDS], words[row * ROW_WORDS + 2])
            for row in self._anchors
            if words[row * ROW_WORDS + 1] == channel
        ]

    def rows(self) -> Iterator[Row]:
        """Yield the rows that a dead predecessor left."""
        words = self._words
        for row in range(ROWS):
            at = row * ROW_WORDS
            if not any(words[at + 1 : at + 8]):
                return  # rows are used from the front: the first that was never written is the end
            stamp = words[at]
            if stamp > 0:
                yield Row(
                    row, stamp, words[at + 1], words[at + 2], Lease(*words[at + 3 : at + 6]), *words[at + 6 : at + 8]
                )

    def restore(self, rows: dict[int, Anchor]) -> None:
        """Take over the rows of a dead predecessor, with new anchors; every other row is free."""
        words = self._words
        self._top = next(
            (row for row in range(ROWS) if not any(words[row * ROW_WORDS + 1 : (row + 1) * ROW_WORDS])), ROWS
        )
        self._stamp = max((abs(words[row * ROW_WORDS]) for row in range(self._top)), default=0) + 1
        for row in range(self._top):
            if row in rows:
                self._anchors[row] = rows[row]
                rows[row].live_rows += 1
            else:
                words[row * ROW_WORDS] = -abs(words[row * ROW_WORDS])
                self._free.append(row)

    def __len__(self) -> int:
        return len(self._anchors)

    def __repr__(self) -> str:
        return f"<LeaseTable: {len(self)} leases out>"
