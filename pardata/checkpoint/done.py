"""The numbers of a job that are done: a few ranges, as jobs hand numbers out in order. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable


class DoneRanges:
    """Ranges ``[begin, end)`` that do not touch each other, in order."""

    def __init__(self, ranges: Iterable[Iterable[int]] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in ranges:
            self.add(begin, end)

    def add(self, begin: int, end: int) -> None:
        """Add the numbers of a range."""
        if begin >= end:
            return
        first = bisect_left(self._ends, begin)  # the first range that it touches
        behind = bisect_right(self._begins, end)
        if first < behind:
            begin, end = min(begin, self._begins[first]), max(end, self._ends[behind - 1])
        self._begins[first:behind] = [begin]
        self._ends[first:behind] = [end]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges."""
        return list(zip(self._begins, self._ends, strict=True))

    @property
    def count(self) -> int:
        """The count of the numbers that are done."""
        return sum(self._ends) - sum(self._begins)

    def missing(self, total: int) -> list[tuple[int, int]]:
        """Return the ranges below `total` that are not done."""
        gaps = zip([0, *self._ends], [*self._begins, total], strict=True)
        return [(begin, end) for begin, end in gaps if begin < end]
