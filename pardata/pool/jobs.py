"""What a pool works on: a job hands out tasks one by one and takes in what came of them. Starts nothing.

Everything here is called with the dispatcher's lock held, except where it says otherwise. What the user can notice -
a future's callbacks - is returned as a function, to be called without the lock.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED  # a running future has no other way to be cancelled
from functools import partial
from typing import Any, Final, Protocol

from pardata.errors import DeadlineExceeded, SerializationError, WorkerLostError
from pardata.memory.budget import format_bytes
from pardata.memory.home import home
from pardata.pool.chunking import Chunks, Ranges
from pardata.pool.tasks import CALL, CodeAddress, Outcome
from pardata.runtime.exits import describe_exit
from pardata.runtime.explain import explain_unpicklable
from pardata.runtime.faults import describe_item
from pardata.runtime.wiring import HomeSink, encode_program

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

    @property
    def exhausted(self) -> bool:
        """Whether there are no tasks, as things are."""

    def next_task(self, ahead: bool) -> Task | None:
        """Return the next task; None if there is none now. `ahead`: it will wait for its worker's task at hand."""

    def message(self, task: Task) -> tuple[Any, ...]:
        """Return what is sent to the worker."""

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        """Take in what came of a task."""

    def lost(self, task: Task, death: Death) -> Effect | None:
        """Take in that a task's worker died of it."""

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        """Take in that the call for ``[begin, end)`` was ended, as it took too long."""

    def again(self, task: Task) -> None:
        """Take in that a task was not done, through no fault of its own."""

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        """Take in that a task could not be sent; None: that the pool has ended."""


def name_of(fn: object) -> str:
    """Return the name of a function for messages."""
    return f"the function {getattr(fn, '__name__', fn)!r}"


def is_importable(fn: object) -> bool:
    """Whether a worker finds the function under its name: then it is the same whenever it is sent."""
    module = getattr(fn, "__module__", None)
    if module in (None, "__main__") or not (inspect.isfunction(fn) or inspect.isbuiltin(fn)):
        return False
    return getattr(sys.modules.get(str(module)), getattr(fn, "__qualname__", ""), None) is fn


class Code:
    """An encoded function in the main process's arena; it must live as long as a task that names it."""

    _keys = itertools.count()

    def __init__(self, fn: object, what: str) -> None:
        memory = home()
        encoded = encode_program(fn, what, fn, HomeSink(memory))
        size = len(encoded.payload)
        self._anchors = encoded.anchors
        # What tells it from others; None if it has captured large arrays, which the bytes do not hold.
        self.payload = None if encoded.anchors else encoded.payload
        self._block = memory.arena.reserve(size)
        self._block[:size] = memoryview(encoded.payload)
        blocks = [(block.offset, block.extent_bytes) for block in encoded.anchors]
        self.address = CodeAddress(next(self._keys), self._block.offset, size, blocks)
        self.wire = tuple(self.address)


def unsendable(error: Exception, what: str, value: object) -> BaseException:
    """Return the error for arguments that could not be put into a message."""
    if isinstance(error, MemoryError):
        return error
    told = SerializationError(f"{what} cannot be sent to a worker process: {explain_unpicklable(value)}")
    told.__cause__ = error
    return told


class CallJob:
    """One call and its future."""

    def __init__(
        self, future: Future[Any], code: Any, number: int, args: tuple[Any, ...], kwargs: dict[str, Any], retries: int
    ) -> None:
        self.queued = False
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

    def again(self, task: Task) -> None:
        self._waits = True

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


class RangeJob(ABC):
    """A job over numbered items, in chunks; what is lost, late or given back is handed out again.

    Parameters
    ----------
    retries : int
        How often an item may fail before that counts.
    splits : bool
        Items that killed their worker in one call may be tried in calls of fewer.
    """

    def __init__(self, code: Any, chunks: Chunks, total: int, retries: int, splits: bool = False) -> None:
        self.queued = False
        self.code = code
        self.ranges = Ranges(total)
        self.chunks = chunks
        self.active: set[Task] = set()
        self.done_items = 0
        self.is_complete = True  # no items will be added
        self.cancelled = False
        self._suspects: list[tuple[int, int, int]] = []  # begin, end, deaths
        self._retries = retries
        self._splits = splits
        self._tries: dict[int, int] = {}

    # -- what the kinds of jobs say ----------------------------------------------------------------------------------

    @abstractmethod
    def put_values(self, task: Task, outcome: Outcome, count: int) -> None:
        """Take in the results of the first `count` items of a task."""

    @abstractmethod
    def put_error(self, begin: int, end: int, error: BaseException) -> None:
        """Take in that these items have failed."""

    @abstractmethod
    def describe(self, begin: int, end: int) -> str:
        """Return what these items are, for messages."""

    @abstractmethod
    def message(self, task: Task) -> tuple[Any, ...]:
        """Return what is sent to the worker."""

    @abstractmethod
    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        """Take in that a task could not be sent; None: that the pool has ended."""

    # -- the same for all --------------------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        return self.cancelled or not (self._suspects or self.ranges.rest)

    @property
    def progress(self) -> int:
        """Items done so far, with those of tasks at hand."""
        return self.done_items + sum(task.position() for task in list(self.active))

    @property
    def lowest(self) -> int:
        """The lowest item that is not done."""
        return min(
            [self.ranges.first, *(task.begin for task in self.active), *(begin for begin, _, _ in self._suspects)]
        )

    def next_task(self, ahead: bool) -> Task | None:
        if self.exhausted or (ahead and not self.chunks.goes_ahead):
            return None
        if self._suspects:
            task = Task(self, *self._suspects.pop(), careful=True)
        else:
            rest = self.ranges.rest
            task = Task(self, *self.ranges.take(self.chunks.size(rest, self.is_complete)))
        self.active.add(task)
        return task

    def limit_ns(self, task: Task) -> int:
        """After how long the worker gives the rest back; 0: never."""
        limit_s = self.chunks.limit_s
        return 0 if limit_s is None or task.careful else int(limit_s * 1e9)

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        self.active.discard(task)
        done = outcome.done
        self.chunks.record(done, outcome.seconds)
        if task.begin + done < task.end:
            self.chunks.given_back += outcome.fault is None
            self.ranges.give_back(task.begin + done, task.end)
        fault = outcome.fault
        count = done if fault is None else self._failed_from(task, outcome)
        self.done_items += count
        self.put_values(task, outcome, count)
        if fault is not None:
            self._failed(task.begin + count, task.begin + done, fault.exception())
        return None

    def _failed_from(self, task: Task, outcome: Outcome) -> int:
        """How many items of the task were done before the call that failed."""
        return outcome.done - 1

    def _failed(self, begin: int, end: int, error: BaseException) -> None:
        self._tries[begin] = self._tries.get(begin, 0) + 1
        if self._tries[begin] <= self._retries:
            self.ranges.give_back(begin, end)
        else:
            self._tries.pop(begin)
            self.done_items += end - begin
            self.put_error(begin, end, error)

    def lost(self, task: Task, death: Death) -> Effect | None:
        self.active.discard(task)
        begin, end, deaths = death.begin, death.end, task.deaths + 1
        self.ranges.give_back(task.begin, begin)
        self.ranges.give_back(end, task.end)
        is_one_call = task.careful or end - begin == 1
        if deaths >= DEATHS_PER_ITEM - 1 and self._splits and end - begin > 1:
            middle = (begin + end) // 2
            self._suspects += [(begin, middle, 1), (middle, end, 1)]
        elif deaths >= DEATHS_PER_ITEM and is_one_call:
            self.put_error(begin, end, death.error(self.describe(begin, end), deaths))
        else:
            self._suspects.append((begin, end, deaths))
        return None

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        self.active.discard(task)
        self.ranges.give_back(task.begin, begin)
        self.ranges.give_back(end, task.end)
        self._failed(begin, end, late(self.describe(begin, end), timeout_s))
        return None

    def again(self, task: Task) -> None:
        self.active.discard(task)
        self.ranges.give_back(task.begin, task.end)

    def cancel(self) -> None:
        """Hand out no more."""
        self.cancelled = True
