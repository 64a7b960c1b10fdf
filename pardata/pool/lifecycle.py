"""The life of a pool, as a table of transitions. Pure; pools of processes and of threads follow it.

A transition that is not in the table cannot happen: `PoolLife.on` raises then, with the pool's history.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Any, Final

from pardata.errors import WorkerLostError
from pardata.pool.callers import Callers
from pardata.process.transitions import LifeCycle


class PoolState(Enum):
    """The state of a pool."""

    STARTING = "starting"
    OPEN = "open"
    CLOSING = "closing"  # it takes no more jobs, and ends when those that it has are done
    BROKEN = "broken"  # it ends at once, or has ended: its jobs fail with `PoolLife.error`
    OVER = "over"  # all its work was done


class PoolEvent(Enum):
    """An event in the life of a pool."""

    STARTED = "has started"
    CLOSE = "is to close"
    BREAK = "breaks"
    ENDED = "has ended"


_TABLE: Final[dict[PoolState, dict[PoolEvent, PoolState]]] = {
    PoolState.STARTING: {
        PoolEvent.STARTED: PoolState.OPEN,
        PoolEvent.CLOSE: PoolState.CLOSING,
        PoolEvent.BREAK: PoolState.BROKEN,
        PoolEvent.ENDED: PoolState.OVER,  # the start has failed
    },
    PoolState.OPEN: {
        PoolEvent.CLOSE: PoolState.CLOSING,
        PoolEvent.BREAK: PoolState.BROKEN,
    },
    PoolState.CLOSING: {
        PoolEvent.STARTED: PoolState.CLOSING,
        PoolEvent.CLOSE: PoolState.CLOSING,
        PoolEvent.BREAK: PoolState.BROKEN,
        PoolEvent.ENDED: PoolState.OVER,
    },
    PoolState.BROKEN: {
        PoolEvent.STARTED: PoolState.BROKEN,
        PoolEvent.CLOSE: PoolState.BROKEN,
        PoolEvent.BREAK: PoolState.BROKEN,
        PoolEvent.ENDED: PoolState.BROKEN,
    },
    PoolState.OVER: {
        PoolEvent.CLOSE: PoolState.OVER,
        PoolEvent.BREAK: PoolState.OVER,
        PoolEvent.ENDED: PoolState.OVER,  # each of the last threads of a pool may say so
    },
}


class PoolLife(LifeCycle[PoolState, PoolEvent, PoolState]):
    """The state of one pool. `on` is called with the pool's lock held, so that no transition overwrites another.

    Attributes
    ----------
    error : exception, optional
        Jobs that are not done fail with it: the first error that broke the pool, or that it has ended. None before.
    is_abandoned : bool
        Nobody holds the pool: it ends as if it were closed. Not a state, as the garbage collector sets it, without the
        lock: a transition at the same moment would overwrite it.
    is_hurried : bool
        Somebody who waits for the end of the workers does not want to wait any longer: they are killed.
    callers : Callers
    """

    def __init__(self) -> None:
        super().__init__("a pool", PoolState.STARTING, _TABLE)
        self.error: BaseException | None = None
        self.is_abandoned = self.is_hurried = False
        self.callers = Callers()

    def on(self, event: PoolEvent, error: BaseException | None = None) -> None:
        """Take in an event; `error`: of `BREAK`. Raises `InternalError`, and stays, if it cannot happen here."""
        state = self.look_up(event)
        if state is PoolState.OVER:
            error = WorkerLostError("the pool has ended")
        self.error = self.error or error  # before the state: Ctrl-C in between leaves a pool that ends
        self.state = state

    def end(self) -> None:
        """Take in that the pool is over, closed or abandoned: what it is given from now on fails with `error`."""
        self.on(PoolEvent.CLOSE)
        self.on(PoolEvent.ENDED)

    @property
    def is_open(self) -> bool:
        """Return whether the pool takes jobs."""
        return self.state is PoolState.OPEN and not self.is_abandoned

    @property
    def is_wanted(self) -> bool:
        """Return whether the pool has not been broken or abandoned: its start goes on."""
        return self.error is None and not self.is_abandoned

    def calling(self, wake: Callable[[], object]) -> AbstractContextManager[None]:
        """Return a context for a call that this pool ends behind; `wake` has it look whether it is over."""
        return self.callers.calling(lambda: self.is_open, wake)

    def let_go(self, lazy: weakref.WeakSet[Any]) -> None:
        """Wait neither for the maps whose results somebody may take, nor for a call of this thread: it waits itself."""
        lazy.clear()
        self.callers.let_go()

    def check_open(self) -> None:
        """Raise `WorkerLostError` if the pool is broken, RuntimeError if it takes no more jobs."""
        if self.state is PoolState.OPEN and not self.is_abandoned:
            return
        if self.state is PoolState.CLOSING and self.callers.has_this:
            return
        if self.state is PoolState.BROKEN:
            raise WorkerLostError(f"the pool has ended: {self.error}") from self.error
        raise RuntimeError("cannot schedule new futures after shutdown")


def torn_by(error: BaseException) -> WorkerLostError:
    """Return what the calls of a pool end with if a caller's thread was broken off while it worked for all of them."""
    told = WorkerLostError(
        f"{type(error).__name__} was raised in a caller's thread while that took in results, or handed out tasks, for "
        f"all callers of the pool: did another thread raise it there (PyThreadState_SetAsyncExc)? Limits of time that "
        f"the pool keeps do no harm: timeout_s=, result(timeout=...), future.cancel()"
    )
    told.__cause__ = error
    return told
