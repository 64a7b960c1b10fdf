"""The order in which a collector hands out messages. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """A message, or anything else, that stands for the items ``number .. number + count - 1`` of a sequence."""

    sequence: int
    number: int
    count: int


def never(edge: int) -> bool:
    """Return that no input has ended: the initial `has_ended` of an order."""
    return False


T = TypeVar("T", bound=Numbered)


class Order(Protocol[T]):
    """Decides which messages are next (for orders besides `Arrival` see `pipeline.plan.ordering`).

    Attributes
    ----------
    has_ended : callable
        Whether an input has closed and nothing of it is left; set by the collector.
    turn : int
        The input that is served next, where inputs are served in turn; a successor is told.
    """

    has_ended: Callable[[int], bool]
    turn: int

    def is_stale(self, message: T) -> bool: ...
    def add(self, edge: int, message: T) -> None: ...
    def take_next(self) -> list[T] | None: ...


class Arrival(Generic[T]):
    """First come, first served."""

    def __init__(self) -> None:
        self._ready: deque[list[T]] = deque()
        self.has_ended: Callable[[int], bool] = never
        self.turn = 0

    def is_stale(self, message: T) -> bool:
        """Return whether `message` was finished before: never known here."""
        return False

    def add(self, edge: int, message: T) -> None:
        """Take in a message."""
        self._ready.append([message])

    def take_next(self) -> list[T] | None:
        """Return the next message, in a list of one; None if there is none now."""
        return self._ready.popleft() if self._ready else None

    @property
    def parked(self) -> int:
        """Messages that have come and cannot be handed out yet."""
        return 0
