"""Which message is next where numbers count: in order, and complete over several edges. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from pardata.channel.order import Arrival, Numbered

T = TypeVar("T", bound=Numbered)

__all__ = ["Arrival", "InOrder"]


class InOrder(Generic[T]):
    """By number within each domain; with several edges, one message of each, of the same number (a zip).

    Parameters
    ----------
    edges : int
    following : dict
        Per domain, the number to begin with; 0 where it is missing.
    """

    def __init__(self, edges: int = 1, following: dict[int, int] | None = None) -> None:
        self._edges = edges
        self._following = dict(following or {})
        self._parked: dict[tuple[int, int], list[T | None]] = {}
        self._ready: deque[list[T]] = deque()

    def is_stale(self, message: T) -> bool:
        """Return whether `message` was finished before: by this process's dead predecessor."""
        return message.number < self._following.get(message.domain, 0)

    def add(self, edge: int, message: T) -> None:
        """Take in a message. Raises ValueError for a second one of the same number on the same edge."""
        domain, number = message.domain, message.number
        group = self._parked.setdefault((domain, number), [None] * self._edges)
        if group[edge] is not None or self.is_stale(message):
            raise ValueError(f"item {domain}:{number} came twice on edge {edge}")
        group[edge] = message
        if number == self._following.get(domain, 0):
            self._advance(domain, number)

    def _advance(self, domain: int, number: int) -> None:
        while True:
            group = self._parked.get((domain, number))
            if group is None:
                return
            complete = [message for message in group if message is not None]
            if len(complete) < self._edges:
                return
            del self._parked[domain, number]
            self._ready.append(complete)
            number += complete[0].count
            self._following[domain] = number

    def pop(self) -> list[T] | None:
        """Return the next message of each edge; None if they are not there yet."""
        return self._ready.popleft() if self._ready else None

    @property
    def parked(self) -> int:
        """Messages that have come and cannot be handed out yet."""
        return sum(message is not None for group in self._parked.values() for message in group)
