"""The life of a worker, as a table: the events of each state, the next state, and the owner's action. Pure.

Workers of pipelines and of pools, and workers that are threads, follow the same table. An event that is not in it
cannot occur: `Life.on` raises then, with the worker's history. docs/design.md draws the table; a test compares.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from typing import Any, Final

from pardata.process.transitions import LifeCycle


class State(Enum):
    """The state of a worker, as its owner knows it."""

    NEW = "new"  # no process was started yet
    ALIVE = "alive"
    LEAVING = "leaving"  # its process has announced that it makes room for a fresh one
    OVERDUE = "overdue"  # it was killed, because an item took longer than its time limit
    PAUSED = "paused"  # it has no process; the next one starts when its pause is over
    DONE = "done"  # it has reported that its work is done, or has failed
    LOST = "lost"  # it has no process, and gets none unless its owner decides so
    STOPPING = "stopping"  # it was told to end
    ABANDONED = "abandoned"  # a thread that was told to end, but does not
    ENDED = "ended"


class Event(Enum):
    """An event in a worker's life."""

    STARTED = "started"
    REFUSED = "refused"  # the system has no process for it
    REFUSED_FOR_GOOD = "refused for good"
    SAID_LEAVING = "says it leaves"
    SAID_DONE = "says it is done"
    TOO_LATE = "is too late"
    DIED = "dies"
    DIED_FOR_GOOD = "dies for good"  # it has died of this too often, or its work cannot be repeated
    RESTART = "is to go on"  # its owner has decided about the item that it died of
    STOP = "is told to end"
    ABANDON = "is abandoned"


class Action(Enum):
    """The owner's action on an event."""

    NONE = "-"
    ASK = "ask it to end"
    KILL = "kill it"
    START = "start the next one, after a pause"
    TELL = "tell that it is lost"
    CLEAN_UP = "take back what it had"
    GIVE_BACK = "give its memory back to the budget"


_TABLE: Final[dict[State, dict[Event, tuple[State, Action]]]] = {
    State.NEW: {
        Event.STARTED: (State.ALIVE, Action.NONE),
        Event.STOP: (State.ENDED, Action.NONE),
    },
    State.ALIVE: {
        Event.SAID_LEAVING: (State.LEAVING, Action.NONE),
        Event.SAID_DONE: (State.DONE, Action.NONE),
        Event.TOO_LATE: (State.OVERDUE, Action.KILL),
        Event.DIED: (State.PAUSED, Action.START),
        Event.DIED_FOR_GOOD: (State.LOST, Action.TELL),
        Event.STOP: (State.STOPPING, Action.ASK),
    },
    State.LEAVING: {
        Event.DIED: (State.PAUSED, Action.START),
        Event.STOP: (State.STOPPING, Action.ASK),
    },
    State.OVERDUE: {
        Event.SAID_LEAVING: (State.LEAVING, Action.NONE),
        Event.SAID_DONE: (State.DONE, Action.NONE),
        Event.DIED: (State.PAUSED, Action.START),
        Event.DIED_FOR_GOOD: (State.LOST, Action.TELL),
        Event.STOP: (State.STOPPING, Action.ASK),
    },
    State.PAUSED: {
        Event.STARTED: (State.ALIVE, Action.NONE),
        Event.REFUSED: (State.PAUSED, Action.START),
        Event.REFUSED_FOR_GOOD: (State.LOST, Action.TELL),
        Event.STOP: (State.ENDED, Action.NONE),
    },
    State.DONE: {
        Event.SAID_DONE: (State.DONE, Action.NONE),  # it has failed after its last step
        Event.DIED: (State.ENDED, Action.GIVE_BACK),
        Event.STOP: (State.STOPPING, Action.ASK),
    },
    State.LOST: {
        Event.RESTART: (State.PAUSED, Action.START),
        Event.STOP: (State.ENDED, Action.NONE),  # also a thread that has failed
    },
    State.STOPPING: {
        Event.SAID_LEAVING: (State.STOPPING, Action.NONE),
        Event.SAID_DONE: (State.STOPPING, Action.NONE),
        Event.STOP: (State.STOPPING, Action.NONE),
        Event.DIED: (State.ENDED, Action.NONE),
        Event.ABANDON: (State.ABANDONED, Action.NONE),
    },
    State.ABANDONED: {
        Event.SAID_DONE: (State.ABANDONED, Action.NONE),
        Event.DIED: (State.ENDED, Action.CLEAN_UP),
    },
    State.ENDED: {
        Event.STOP: (State.ENDED, Action.NONE),
    },
}


class Life(LifeCycle[State, Event, tuple[State, Action]]):
    """The state of one worker."""

    def __init__(self, who: str) -> None:
        super().__init__(who, State.NEW, _TABLE)

    def on(self, event: Event) -> Action:
        """Change the state by an event; return the action. Raises `InternalError`, unchanged, if it cannot occur."""
        self.state, action = self.look_up(event)
        return action


# -- the deaths that a worker may have ---------------------------------------------------------------------------------

DEATHS_PER_ITEM: Final = 3  # with the same item at work; then the item is given up
IN_A_ROW: Final = 10  # deaths at the start or while waiting, with nothing done in between, and refusals of the system
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 2.0
_STEADY_S: Final = 10.0  # a process that has lived for so long has not died in a row with the one before it


class Deaths:
    """The deaths of the processes of one worker, and the pause before the next start.

    A death at an item counts against the item, which is given up at its limit. A death with no item to blame (at the
    start, or while it waited for work) counts in a row: the first replacement starts at once, each further one after
    twice the pause, and ten in a row end the worker. A death while several calls were awaited has one of their items to
    blame: to find out which, the calls are made one at a time after three.
    """

    def __init__(self) -> None:
        self.noted: deque[Any] = deque(maxlen=1000)  # what each process was at, for reports
        self.at_items: Counter[tuple[int, int] | None] = Counter()
        self.late_at: Counter[tuple[int, int]] = Counter()
        self.in_a_row = 0
        self.refusals = 0
        self._while_awaiting = 0
        self._done_before = 0

    def at_item(self, item: tuple[int, int] | None) -> int:
        """Count a death at an item; return the number of deaths there."""
        self.in_a_row = 0
        self.at_items[item] += 1
        return self.at_items[item]

    def late(self, item: tuple[int, int]) -> int:
        """Count that an item took too long; return the number of times."""
        self.in_a_row = 0
        self.late_at[item] += 1
        return self.late_at[item]

    def while_awaiting(self) -> int:
        """Count a death while calls were awaited, of which each may be to blame; return the number of such deaths.

        At the limit the count begins anew, and the next process makes one call at a time: a further death has an item.
        What is finished between two deaths does not reset the count, as the calls beside the one to blame go on.
        """
        self.in_a_row = 0
        self._while_awaiting = self._while_awaiting % DEATHS_PER_ITEM + 1
        return self._while_awaiting

    def for_nothing(self, done: int, lived_s: float) -> int:
        """Count a death with no item to blame, of a process that lived for `lived_s` seconds; return the row's length.

        `done`: the number of batches that this worker has finished, with all its processes.
        """
        if done != self._done_before or lived_s >= _STEADY_S:
            self.in_a_row = 0
        self._done_before = done
        self.in_a_row += 1
        return self.in_a_row

    def refused(self) -> bool:
        """Count a refusal of the system; return whether to try again."""
        self.refusals += 1
        return self.refusals < IN_A_ROW

    def started(self) -> None:
        """Reset the count of refusals: the system has given a process."""
        self.refusals = 0

    @property
    def pause_s(self) -> float:
        """The pause before the next start, in seconds."""
        tries = max(self.in_a_row - 1, self.refusals)
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (tries - 1)) if tries > 0 else 0.0
