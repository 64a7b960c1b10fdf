"""A job of one call, whose result goes to a future."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED  # a running future has no other way to be cancelled
from functools import partial
from typing import Any

from pardata.errors import WorkerLostError
from pardata.pool.jobs.job import Death, Effect, Outcome, Task, late, unsendable
from pardata.pool.worker.messages import CALL
from pardata.process.lifecycle import DEATHS_PER_ITEM
from pardata.runtime.faults import describe_item


class CallJob:
    """One call and its future."""

    def __init__(
        self,
        future: Future[Any],
        code: Any,
        number: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        retries: int,
        writable: bool,
    ) -> None:
        self.queued = False
        self.thread = threading.get_ident()
        self.writable = writable
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
        is_repeat = self.future.running()
        if is_repeat or self.future.set_running_or_notify_cancel():
            task = Task(self, 0, 1, self._deaths)
            task.is_repeat = is_repeat
            return task
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

    def suspect(self, task: Task, deaths: int) -> None:
        self._deaths, self._waits = deaths, True

    def drop_rest(self, error: BaseException) -> Effect | None:
        return partial(Future.cancel, self.future)  # not `TaskFuture.cancel`, as that ends a call which has begun

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
        """Have the future cancelled although its call runs; the outcome of the call does not count."""
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
