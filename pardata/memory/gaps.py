"""The unallocated ranges of an arena: first fit, neighbours joined. Pure: ranges are numbers here."""

from __future__ import annotations

from bisect import insort

from pardata.memory.segment import HUGE_PAGE_BYTES, PAGE_BYTES


def align(value: int, to: int) -> int:
    """Return the least multiple of `to` that is not below `value`."""
    return -(-value // to) * to


def size_class(nbytes: int) -> int:
    """Return the bytes that a block of `nbytes` occupies: four steps per power of two, whole (huge) pages.

    The unused rest of a block is never touched, so it costs address space only.
    """
    nbytes = max(nbytes, PAGE_BYTES)
    step = 1 << max((nbytes - 1).bit_length() - 3, 12)
    rounded = align(nbytes, step)
    return align(rounded, HUGE_PAGE_BYTES) if rounded >= HUGE_PAGE_BYTES else rounded


class Gaps:
    """The ranges of addresses that no block occupies.

    Attributes
    ----------
    ranges : list of (offset, size), bytes
        In ascending order; no two of them touch.
    """

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def add(self, offset: int, size: int) -> None:
        """Add a range, joined with the ranges that it touches; nothing happens if `size` is not positive."""
        if size <= 0:
            return
        ranges = self.ranges
        insort(ranges, (offset, size))
        index = ranges.index((offset, size))
        if index + 1 < len(ranges) and offset + size == ranges[index + 1][0]:
            size += ranges.pop(index + 1)[1]
            ranges[index] = (offset, size)
        if index and sum(ranges[index - 1]) == offset:
            start, before = ranges.pop(index - 1)
            ranges[index - 1] = (start, before + size)

    def take(self, extent: int) -> int | None:
        """Take `extent` bytes out of the first range that has room, aligned to (huge) pages; None if none has."""
        alignment = HUGE_PAGE_BYTES if extent >= HUGE_PAGE_BYTES else PAGE_BYTES
        for index, (start, size) in enumerate(self.ranges):
            offset = align(start, alignment)
            rest = start + size - offset - extent
            if rest >= 0:
                left = [(start, offset - start), (offset + extent, rest)]
                self.ranges[index : index + 1] = [gap for gap in left if gap[1]]
                return offset
        return None
