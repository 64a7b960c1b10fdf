"""The life of a manager of named blocks, as a table of transitions. Pure.

It is no `process.transitions.LifeCycle`: there an event that is not in the table is a mistake of pardata's, an
`InternalError` with the history. Here each event is a call of the user, who gets a ConfigError and knows the history.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from pardata.errors import ConfigError


class ManagerState(Enum):
    """The state of a manager."""

    INITIAL = "not started"
    STARTED = "started"  # it owns the blocks, and removes them at its end
    CONNECTED = "connected"  # the blocks are another manager's
    SHUT_DOWN = "shut down"


class ManagerEvent(Enum):
    """A call of the user that changes a manager's state."""

    START = "start()"
    CONNECT = "connect()"
    SHUTDOWN = "shutdown()"


_TABLE: Final[dict[ManagerState, dict[ManagerEvent, ManagerState]]] = {
    ManagerState.INITIAL: {
        ManagerEvent.START: ManagerState.STARTED,
        ManagerEvent.CONNECT: ManagerState.CONNECTED,
    },
    ManagerState.STARTED: {ManagerEvent.SHUTDOWN: ManagerState.SHUT_DOWN},
    ManagerState.CONNECTED: {},
    ManagerState.SHUT_DOWN: {ManagerEvent.SHUTDOWN: ManagerState.SHUT_DOWN},
}


def after(state: ManagerState, event: ManagerEvent) -> ManagerState:
    """Return the next state. Raises ConfigError for an event that is not in the table: each is a call of the user."""
    found = _TABLE[state].get(event)
    if found is None:
        raise ConfigError(f"{event.value} of a manager that is {state.value}")
    return found
