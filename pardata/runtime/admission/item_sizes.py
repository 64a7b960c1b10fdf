"""Finds how heavy items are on their way, from the counts of all workers. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class ItemSizes:
    """The bytes per item that are sent where they are most, lately.

    A worker counts an item when it has taken it and its bytes when it has sent it, so one look may see too little: of
    every worker the last two looks count.
    """

    def __init__(self, senders: int) -> None:
        self.senders = senders
        self._last = [(0, 0)] * senders
        self._found = [(0.0, 0.0)] * senders

    def heaviest(self, counts: Sequence[tuple[int, int]]) -> float:
        """Return the bytes per item; `counts` are items taken and bytes sent so far, of each sender."""
        heaviest = 0.0
        for index, (items, sent_bytes) in enumerate(counts):
            items_before, bytes_before = self._last[index]
            if items > items_before:
                self._last[index] = items, sent_bytes
                self._found[index] = (sent_bytes - bytes_before) / (items - items_before), self._found[index][0]
            heaviest = max(heaviest, *self._found[index])
        return heaviest
