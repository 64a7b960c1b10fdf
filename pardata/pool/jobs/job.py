"""The contract of jobs: a job hands out tasks one by one and takes in their outcomes. Starts nothing.

Everything here is called with the pool's lock held, except where it says otherwise. An effect that the user can notice,
as the callbacks of a future, is returned as a function, to be called without the lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from pardata.codec.unpicklable import explain_unpicklable
from pardata.errors import DeadlineExceeded, SerializationError, WorkerLostError
from pardata.memory.budget import format_bytes
from pardata.process.exit_status import describe_exit
from pardata.runtime.faults import Fault

Effect = Callable[[], object]


class Effects:
    """The calls that wait until the pool's lock is free."""

    def __init__(self) -> None:
        self._waiting: deque[Effect] = deque()
        self._feeders: set[int] = set()  # threads that take them while the pool waits for them

    def take_as_feeder(self) -> None:
        """As `take`, by the thread that feeds the pool's workers now: nobody does meanwhile."""
        if self._waiting:
            thread = threading.get_ident()
            self._feeders.add(thread)
            try:
                self.take()
            finally:
                self._feeders.discard(thread)

    def check_may_wait(self, timeout_s: float | None) -> None:
        """Raise RuntimeError in a callback for which the pool waits: what it would wait for cannot come."""
        if self._feeders and timeout_s != 0 and threading.get_ident() in self._feeders:
            raise RuntimeError(
                "a callback of a result cannot wait for another result of its pool, which goes on when the callback "
                "has returned: wait in another thread, or where the callback was added"
            )

    def note(self, effect: Effect | None) -> None:
        """Add a call. Called with the lock held."""
        if effect is not None:
            self._waiting.append(effect)

    def take(self) -> None:
        """Make the calls that wait. Called without the lock, by any thread."""
        while self._waiting:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._waiting.popleft()()


class Task:
    """A part of a job that one worker has: the items (or rows) ``[begin, end)``.

    Attributes
    ----------
    deaths : int
        Workers that died of these items.
    careful : bool
        The worker is to say before each call which it is.
    is_repeat : bool
        Some of its calls were begun before: what they have said comes before the outcome.
    position : callable
        Returns the number of its items that are done now. Set by the dispatcher when it hands the task out.
    """

    __slots__ = ("begin", "careful", "deaths", "end", "is_repeat", "job", "number", "position", "slot")

    def __init__(self, job: Job, begin: int, end: int, deaths: int = 0, careful: bool = False) -> None:
        self.job = job
        self.begin = begin
        self.end = end
        self.deaths = deaths
        self.careful = self.is_repeat = careful
        self.number = -1
        self.slot: Any = None
        self.position: Callable[[], int] = int

    def __repr__(self) -> str:
        return f"<Task {self.number}: {self.begin} to {self.end} of {self.job!r}>"


class Outcome(NamedTuple):
    """The outcome of a task.

    `done` counts its calls, the one that raised included; the items behind them were not begun, and are the parent's
    again. `longest` is the longest call looked at: (seconds, index). `is_unread`: the fault is that of a message, with
    arguments or results, that could not be unpickled. `has_said`: something was printed, logged or drawn meanwhile.
    """

    done: int
    values: Any
    fault: Fault | None
    seconds: float
    longest: tuple[float, int] = (0.0, 0)
    is_unread: bool = False
    has_said: bool = False


class Death:
    """The death of a worker that worked on ``[begin, end)`` of a task."""

    def __init__(self, begin: int, end: int, status: int | None, peak_bytes: int | None) -> None:
        self.begin = begin
        self.end = end
        self.status = status
        self.peak_bytes = peak_bytes

    def error(self, what: str, deaths: int) -> WorkerLostError:
        """Return the error that says so."""
        peak = f" with {format_bytes(self.peak_bytes)} of memory at the most" if self.peak_bytes else ""
        error = WorkerLostError(
            f"the pool: {deaths} worker processes were lost while they worked on {what}, the last one "
            f"{describe_exit(self.status)}{peak}. Either this makes the function crash or exit, or it needs more "
            f"memory than there is"
        )
        error.items = range(self.begin, self.end)
        error.status, error.peak_bytes = self.status, self.peak_bytes
        return error


class Job(Protocol):
    """Hands out tasks, takes in their outcomes."""

    queued: bool
    """Set while the job is in the queue that tasks are taken from."""
    thread: int
    """Identity of the thread that has given it to the pool."""
    writable: bool
    """Whether the function gets arrays of its own among its arguments."""

    @property
    def code(self) -> Any:
        """Return the encoded function."""

    @property
    def exhausted(self) -> bool:
        """Return whether the job has no tasks now."""

    def next_task(self, ahead: bool) -> Task | None:
        """Return the next task; None if there is none now. `ahead`: it will wait for its worker's task at hand."""

    def message(self, task: Task) -> tuple[Any, ...]:
        """Return the message to the worker."""

    def note_sent(self, task: Task, nbytes: int) -> None:
        """Take in how large the message of a task was."""

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        """Take in the outcome of a task."""

    def lost(self, task: Task, death: Death) -> Effect | None:
        """Take in that a task's worker died of it."""

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        """Take in that the call for ``[begin, end)`` was ended, as it took too long."""

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        """Take in that a task was not done, through no fault of its own; `has_begun`: a part of it was."""

    def suspect(self, task: Task, deaths: int) -> None:
        """Take in that so many nodes of a cluster were lost with a task: its items are tried again, one by one."""

    def drop_rest(self, error: BaseException) -> Effect | None:
        """Hand out no more, as the user wants it; tasks that workers have go on. Waiting callers get `error`."""

    def drop_all(self, error: BaseException) -> Effect | None:
        """As `drop_rest`; the outcomes of tasks that workers have do not count either."""

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        """Take in that a task could not be sent; None: that the pool has ended."""


def unsendable(error: Exception, what: str, value: object) -> BaseException:
    """Return the error for arguments that could not be put into a message."""
    if isinstance(error, MemoryError):
        return error
    told = SerializationError(f"{what} cannot be sent to a worker process: {explain_unpicklable(value)} ({error})")
    told.__cause__ = error
    return told


def late(what: str, timeout_s: float) -> DeadlineExceeded:
    """Return the error for a call that took too long."""
    return DeadlineExceeded(
        f"{what} took longer than timeout_s={timeout_s:g}, and its worker process was ended. The pool goes on"
    )
