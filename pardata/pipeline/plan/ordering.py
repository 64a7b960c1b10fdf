"""The order of messages by their numbers, also over several edges. Pure: no I/O, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from pardata.channel.order import Arrival, Numbered, never

T = TypeVar("T", bound=Numbered)

# How several inputs become one: "arrival", "fair" (in turn, of those that have something), "round_robin" (in turn,
# waiting), "sequence" (one after the other), "zip" (one item of each, of the same number), "ordered" (all items of a
# number together), "position" (the one that is behind, where each input has numbers of its own).
Policy = Literal["arrival", "fair", "round_robin", "sequence", "zip", "ordered", "position"]

__all__ = ["Arrival", "ByPosition", "Fanin", "InOrder", "InTurn", "Policy"]


class InOrder(Generic[T]):
    """By number within each sequence; with several edges, one message of each, of the same number (a zip).

    Parameters
    ----------
    edges : int
    following : dict
        Per sequence, the number to begin with; 0 where it is missing.
    """

    def __init__(self, edges: int = 1, following: dict[int, int] | None = None) -> None:
        self._edges = edges
        self._following = dict(following or {})
        self._parked: dict[tuple[int, int], list[T | None]] = {}
        self._ready: deque[list[T]] = deque()
        self.has_ended: Callable[[int], bool] = never
        self.turn = 0

    def is_stale(self, message: T) -> bool:
        """Return whether `message` was finished before: by this process's dead predecessor."""
        return message.number < self._following.get(message.sequence, 0)

    def add(self, edge: int, message: T) -> None:
        """Take in a message. Raises ValueError for a second one of the same number on the same edge."""
        sequence, number = message.sequence, message.number
        if self._edges == 1 and number == self._following.get(sequence, 0):  # as most
            self._ready.append([message])
            self._following[sequence] = number + message.count
            if self._parked:
                self._advance(sequence, number + message.count)
            return
        group = self._parked.setdefault((sequence, number), [None] * self._edges)
        if group[edge] is not None or self.is_stale(message):
            raise ValueError(f"item {sequence}:{number} came twice on edge {edge}")
        group[edge] = message
        if number == self._following.get(sequence, 0):
            self._advance(sequence, number)

    def _advance(self, sequence: int, number: int) -> None:
        while True:
            group = self._parked.get((sequence, number))
            if group is None:
                return
            complete = [message for message in group if message is not None]
            if len(complete) < self._edges:
                return
            del self._parked[sequence, number]
            self._ready.append(complete)
            number += complete[0].count
            self._following[sequence] = number

    def take_next(self) -> list[T] | None:
        """Return the next message of each edge; None if they are not there yet."""
        return self._ready.popleft() if self._ready else None

    @property
    def parked(self) -> int:
        """Messages that have come and cannot be handed out yet."""
        return sum(message is not None for group in self._parked.values() for message in group)


class InTurn(Generic[T]):
    """Messages of several inputs in turn, each input in an order of its own.

    Parameters
    ----------
    inputs : list
        The order of each input.
    policy : "fair", "round_robin" or "sequence"
        "fair" goes to the next input that has a message; "round_robin" waits for each input in turn until it has ended;
        "sequence" stays with an input until it has ended.

    Attributes
    ----------
    turn : int
        The input that is served next. A successor sets it: to the input of the batch that its predecessor was working
        on, or else to the turn that the predecessor noted when it had finished its last batch.
    """

    def __init__(self, inputs: list[Arrival[T] | InOrder[T]], policy: Policy) -> None:
        self.has_ended: Callable[[int], bool] = never
        self._inputs = inputs
        self._policy = policy
        self.turn = 0

    def is_stale(self, message: T) -> bool:
        """Return whether `message` was finished before: by this process's dead predecessor."""
        return any(order.is_stale(message) for order in self._inputs)

    def add(self, edge: int, message: T) -> None:
        """Take in a message."""
        self._inputs[edge].add(0, message)

    def take_next(self) -> list[T] | None:
        """Return the next message, in a list of one; None if there is none now."""
        for _ in self._inputs:
            turn = self.turn
            message = self._inputs[turn].take_next()
            if message is None and self._policy != "fair" and not self.has_ended(turn):
                return None
            if message is None or self._policy != "sequence":
                self.turn = (turn + 1) % len(self._inputs)
            if message is not None:
                return message
        return None

    @property
    def parked(self) -> int:
        """Messages that have come and cannot be handed out yet."""
        return sum(order.parked for order in self._inputs)


class ByPosition(InTurn[T]):
    """Messages of several inputs with numbers of their own, always of the one that is behind.

    Where that has ended, those of the others come after all: of a zip, the caller finds them too many. `reached`: how
    far each input was when the run began.
    """

    def __init__(self, inputs: list[Arrival[T] | InOrder[T]], reached: list[int] | None = None) -> None:
        super().__init__(inputs, "position")
        self._reached = [0] * len(inputs) if reached is None else list(reached)

    def take_next(self) -> list[T] | None:
        """Return the next message, in a list of one; None if there is none now."""
        for edge in sorted(range(len(self._inputs)), key=self._reached.__getitem__):
            message = self._inputs[edge].take_next()
            if message is not None:
                self._reached[edge] += message[0].count
                return message
            if not self.has_ended(edge):
                return None
        return None


@dataclass(frozen=True)
class Fanin:
    """The way in which a stage takes its input.

    Attributes
    ----------
    edges : int
        How many inputs are told apart; by arrival they are not.
    in_order : bool
        Whether each input is taken in the order of its numbers.
    """

    policy: Policy = "arrival"
    edges: int = 1
    in_order: bool = True

    @property
    def is_zipped(self) -> bool:
        """True if it takes one message of each input, of the same number."""
        return self.policy in ("zip", "ordered")

    def order(self, following: dict[int, int], reached: list[int] | None = None) -> Arrival[T] | InOrder[T] | InTurn[T]:
        """Return the order; `following`: per sequence, the number to begin with.

        `reached`: per input, of a run that goes on. It may begin further behind in one of them: those that take turns
        one by one are then served by their numbers, which is the same order.
        """
        if self.is_zipped:
            return InOrder(self.edges, following)
        inputs: list[Arrival[T] | InOrder[T]] = [
            InOrder(1, following) if self.in_order else Arrival() for _ in range(self.edges)
        ]
        if self.policy == "position" or (self.policy == "round_robin" and reached is not None):
            return ByPosition(inputs, reached)
        return inputs[0] if self.policy == "arrival" else InTurn(inputs, self.policy)
