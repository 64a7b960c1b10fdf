"""The number of small items in a message, learned from the messages that have come out of the run. Pure.

The rate at which a source sends says nothing about the stages behind it before their queues are full. So only messages
count that have come out at the end of every path. For each of them it is known when the source began to collect it, and
how many items came out from then until it did itself. The quotient is the run's rate, for any number of workers and any
depth of queues. A message twice as large is tried when one of the present size has come out. So as long as the cost of
an item is unknown, each item is a message of its own, and every worker of a farm gets one.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

# A message should be worth this much of one worker's time; more items per message save wake-ups, fewer keep latency
# low.
BATCH_S: Final = 0.002
LARGEST_BATCH: Final = 64


class Sizes(NamedTuple):
    """The items per message: `fixed`, or the best number where up to `width` workers share them."""

    fixed: int | None
    width: int = 1


class _Flight(NamedTuple):
    items: int
    begun_s: float
    out_before: int  # items that had come out when it was begun


class BatchSize:
    """sent / came_out -> `items`.

    Parameters
    ----------
    width : int
        Workers of the widest farm that the items pass: each is to have its share of the items of `BATCH_S` seconds.
    now_s : float
        When the first message is begun.
    """

    def __init__(self, width: int, now_s: float) -> None:
        self.items = 1
        self._width = width
        self._inflight: deque[_Flight] = deque()
        self._out = 0  # items
        self._came_out = 0  # messages
        self._begun_s = now_s
        self._out_before = 0

    def sent(self, items: int, now_s: float) -> None:
        """Note that a message has left, and the next one is begun."""
        self._inflight.append(_Flight(items, self._begun_s, self._out_before))
        self._begun_s, self._out_before = now_s, self._out

    def came_out(self, messages: int, now_s: float) -> None:
        """Note how many messages have come out in all. They are taken to do so in the order in which they left."""
        while self._came_out < messages and self._inflight:
            flight = self._inflight.popleft()
            self._came_out += 1
            self._out += flight.items
            wanted = self._wanted(self._out, flight, now_s)
            if flight.items >= self.items:
                self.items = max(1, min(wanted, 2 * flight.items, LARGEST_BATCH), self.items // 2)
            elif wanted < self.items:
                self._shrink(wanted)
        if self._inflight and self.items > 1:  # a late message shows that it is late before it comes out
            flight = self._inflight[0]
            wanted = self._wanted(self._out + flight.items, flight, now_s)
            if wanted < self.items:
                self._shrink(wanted)

    def _shrink(self, wanted: int) -> None:
        self.items = max(1, wanted, self.items // 2)

    def _wanted(self, out: int, flight: _Flight, now_s: float) -> int:
        rate = (out - flight.out_before) / max(now_s - flight.begun_s, 1e-9)
        return int(rate * BATCH_S / self._width)
