"""What a pool works on: a job hands out tasks one by one and takes in what came of them. Starts nothing.

Everything here is called with the dispatcher's lock held, except where it says otherwise. What the user can notice -
a future's callbacks - is returned as a function, to be called without the lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED  # a running future has no other way to be cancelled
from functools import partial
from typing import Any, Final, Protocol

from pardata.errors import DeadlineExceeded, SerializationError, WorkerLostError
from pardata.memory.budget import format_bytes
from pardata.pool.worker.tasks import CALL, Outcome
from pardata.process.exit_status import describe_exit
from pardata.runtime.faults import describe_item
from pardata.runtime.unpicklable import explain_unpicklable

DEATHS_PER_ITEM: Final = 3

Effect = Callable[[], object]


class Task:
    """A part of a job that one worker has: the items (or rows) ``[begin, end)``.

    Attributes
    ----------
    deaths : int
        Workers that died of these items.
    careful : bool
        The worker is to say before each call which it is.
    position : callable
        How many of its items are done now; set by whoever hands the task out.
    """

    __slots__ = ("begin", "careful", "deaths", "end", "job", "number", "position", "seat")

    def __init__(self, job: Job, begin: int, end: int, deaths: int = 0, careful: bool = False) -> None:
        self.job = job
        self.begin = begin
        self.end = end
        self.deaths = deaths
        self.careful = careful
        self.number = -1
        self.seat: Any = None
        self.position: Callable[[], int] = int

    def __repr__(self) -> str:
        return f"<Task {self.number}: {self.begin} to {self.end} of {self.job!r}>"


class Death:
    """How a worker died that worked on ``[begin, end)`` of a task."""

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
    """Hands out tasks, takes in what came of them."""

    queued: bool
    """Whether the dispatcher has it among those that it asks for tasks."""
    thread: int
    """Identity of the thread that has given it to the pool."""

    @property
    def exhausted(self) -> bool:
        """Whether there are no tasks, as things are."""

    def next_task(self, ahead: bool) -> Task | None:
        """Return the next task; None if there is none now. `ahead`: it will wait for its worker's task at hand."""

    def message(self, task: Task) -> tuple[Any, ...]:
        """Return what is sent to the worker."""

    def note_sent(self, task: Task, nbytes: int) -> None:
        """Take in how large the message of a task was."""

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        """Take in what came of a task."""

    def lost(self, task: Task, death: Death) -> Effect | None:
        """Take in that a task's worker died of it."""

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        """Take in that the call for ``[begin, end)`` was ended, as it took too long."""

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        """Take in that a task was not done, through no fault of its own; `has_begun`: a part of it was."""

    def drop_rest(self, error: BaseException) -> Effect | None:
        """Hand out no more, as the user wants it; what a worker has goes on. Waiting callers get `error`."""

    def drop_all(self, error: BaseException) -> Effect | None:
        """As `drop_rest`; what comes of the tasks that workers have does not count either."""

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        """Take in that a task could not be sent; None: that the pool has ended."""


def unsendable(error: Exception, what: str, value: object) -> BaseException:
    """Return the error for arguments that could not be put into a message."""
    if isinstance(error, MemoryError):
        return error
    told = SerializationError(f"{what} cannot be sent to a worker process: {explain_unpicklable(value)} ({error})")
    told.__cause__ = error
    return told


class CallJob:
    """One call and its future."""

    def __init__(
        self, future: Future[Any], code: Any, number: int, args: tuple[Any, ...], kwargs: dict[str, Any], retries: int
    ) -> None:
        self.queued = False
        self.thread = threading.get_ident()
        self.future = future
        self._code = code
        self._number = number
        self._call: tuple[tuple[Any, ...], dict[str, Any]] | None = args, kwargs
        self._waits = True
        self._deaths = 0
        self._retries = retries

    @property
    def exhausted(self) -> bool:
        return not self._waits

    @property
    def code(self) -> Any:
        return self._code

    def next_task(self, ahead: bool) -> Task | None:
        self._waits = False
        if self._call is None:
            return None  # it was cancelled
        if self.future.running() or self.future.set_running_or_notify_cancel():
            return Task(self, 0, 1, self._deaths)
        self._call = None
        return None

    def message(self, task: Task) -> tuple[Any, ...]:
        assert self._call is not None
        return CALL, self._code.wire, self._number, *self._call

    def note_sent(self, task: Task, nbytes: int) -> None:
        pass

    @property
    def _what(self) -> str:
        args = self._call[0] if self._call is not None else ()
        return f"task {self._number}: a call with {describe_item(args)}"

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        if outcome.fault is None:
            return self._end(partial(_settle, self.future.set_result, outcome.values))
        if self._may_retry():
            return None
        error = outcome.fault.exception()
        return self._end(partial(_settle, self.future.set_exception, error))

    def lost(self, task: Task, death: Death) -> Effect | None:
        self._deaths += 1
        if self._deaths < DEATHS_PER_ITEM:
            self._waits = True
            return None
        error = death.error(self._what, self._deaths)
        return self._end(partial(_settle, self.future.set_exception, error))

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        if self._may_retry():
            return None
        error = late(self._what, timeout_s)
        return self._end(partial(_settle, self.future.set_exception, error))

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        self._waits = True
        return None

    def drop_rest(self, error: BaseException) -> Effect | None:
        return partial(Future.cancel, self.future)  # not `TaskFuture.cancel`, which ends what has begun meanwhile

    def drop_all(self, error: BaseException) -> Effect | None:
        return self.cancel_running() if self.future.running() else self.drop_rest(error)

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        if self.future.done():
            return None
        if task is not None and isinstance(error, Exception) and not isinstance(error, WorkerLostError):
            error = unsendable(error, "an argument of the call", self._call)
        if not self.future.running() and not self.future.set_running_or_notify_cancel():
            return None
        return self._end(partial(_settle, self.future.set_exception, error))

    def cancel_running(self) -> Effect:
        """Have the future cancelled although its call runs; what comes of the call does not count."""
        future = self.future
        self._call, self._waits = None, False
        with future._condition:
            if future.done():
                return int  # it has come to its end at this moment
            future._state = CANCELLED_AND_NOTIFIED
            for waiter in future._waiters:
                waiter.add_cancelled(future)
            future._condition.notify_all()
        return future._invoke_callbacks  # type: ignore[attr-defined,no-any-return]

    def _may_retry(self) -> bool:
        if self._retries <= 0:
            return False
        self._retries -= 1
        self._waits = True
        return True

    def _end(self, effect: Effect) -> Effect | None:
        """Let go of everything the call held."""
        self._waits = False
        self._call = self._code = None
        return None if self.future.done() else effect


def _settle(setter: Callable[[Any], None], value: Any) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled at this moment
        setter(value)


def late(what: str, timeout_s: float) -> DeadlineExceeded:
    """Return the error for a call that took too long."""
    return DeadlineExceeded(
        f"{what} took longer than timeout_s={timeout_s:g}, and its worker process was ended. The pool goes on"
    )
