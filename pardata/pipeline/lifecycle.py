"""The life of a run, as a table of transitions. Pure; the runs of all engines follow it.

Events come from the thread that has the run's turn, and the last one from the thread that takes the run back.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

from pardata.process.transitions import LifeCycle


class RunState(Enum):
    """The state of a run."""

    NEW = "new"  # nothing is there that would have to be taken back
    OPEN = "open"  # it is being built, or gives items
    CLOSING = "closing"  # it gives no more items; its workers end, its memory goes back
    CLOSED = "closed"  # nothing is left of it but its report


class RunEvent(Enum):
    """An event in the life of a run."""

    BEGIN = "begins"
    CLOSE = "is to close"  # its last item was taken, it has failed, or the user closes it
    CLOSED = "has closed"


_TABLE: Final[dict[RunState, dict[RunEvent, RunState]]] = {
    RunState.NEW: {RunEvent.BEGIN: RunState.OPEN},
    RunState.OPEN: {RunEvent.CLOSE: RunState.CLOSING},
    RunState.CLOSING: {RunEvent.CLOSED: RunState.CLOSED},
    RunState.CLOSED: {},
}


class RunLife(LifeCycle[RunState, RunEvent, RunState]):
    """The state of one run of process `pid`; `dashboard`: what shows it until it has closed, if anything does."""

    def __init__(self, pid: int) -> None:
        super().__init__("a run", RunState.NEW, _TABLE)
        self.pid = pid
        self.dashboard: Any = None

    def on(self, event: RunEvent) -> None:
        """Change the state by an event. Raises `InternalError`, unchanged, if it cannot occur."""
        self.state = self.look_up(event)

    def close(self) -> bool:
        """Change from open to closing; return False if the run is not open, so that somebody else closes it."""
        if self.state is not RunState.OPEN:
            return False
        self.on(RunEvent.CLOSE)
        return True
