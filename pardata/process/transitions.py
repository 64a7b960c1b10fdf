"""A life cycle is a table: the events of each state, and what follows. An event that is not in it is an error. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Final, Generic, TypeVar

from pardata.errors import InternalError

_REMEMBERED: Final = 12  # events in the text of an error

S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
R = TypeVar("R")


class LifeCycle(Generic[S, E, R]):
    """The state of one thing, and the last events of its life.

    Parameters
    ----------
    who : str
        The thing, as the subject of an error.
    table : mapping
        Per state and event, what follows: the next state, or a row that has it.
    """

    def __init__(self, who: str, state: S, table: Mapping[S, Mapping[E, R]]) -> None:
        self.state = state
        self._who = who
        self._table = table
        self._history: deque[E] = deque(maxlen=_REMEMBERED)

    def look_up(self, event: E) -> R:
        """Return what follows an event, and note it. Raises `InternalError`, unchanged, if the event cannot occur."""
        found = self._table[self.state].get(event)
        if found is None:
            past = ", ".join(known.value for known in self._history) or "nothing"
            raise InternalError(f"{self._who} {event.value} while it is {self.state.value}; before that: {past}")
        self._history.append(event)
        return found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._who}: {self.state.value}>"
