"""The node's side of a pool past one machine: the unchanged pool of processes, whose jobs are the tasks of home.

      take(number, frames) -> Desk -> RelayJob -> Dispatcher -> RelayJob -> on_answer(number, frames)

What has become of a task goes home, where the job that it is of decides.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from pardata.cluster import wire
from pardata.cluster.island import OnAnswer
from pardata.cluster.messages import News
from pardata.cluster.pool_messages import (
    DropTasks,
    Hello,
    NewFunction,
    Nothing,
    PoolAnswer,
    PoolCode,
    PoolTask,
    TaskDone,
    TaskLost,
    TaskRefused,
    Welcome,
)
from pardata.cluster.port import FINISH, Frames
from pardata.codec.unpicklable import explain_unpicklable
from pardata.errors import SerializationError
from pardata.pool.jobs.job import Death, Effect, Outcome, Task
from pardata.pool.processes.dispatcher import Dispatcher
from pardata.pool.worker.messages import unpack
from pardata.runtime.events import Spoken
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.library_limits import share_cores, usable_cores


class _Function(NamedTuple):
    """A function of home's: its code here, or what happened when it was loaded."""

    code: Any
    fault: Fault | None


class RelayJob:
    """A task of home's as a job of this node's pool: it hands out one task, and tells what has become of it.

    Parameters
    ----------
    tell : callable
        Told the answer, without the pool's lock.
    """

    def __init__(self, task: PoolTask, code: Any, tell: Callable[[PoolAnswer], None]) -> None:
        self.queued = False
        self.thread = threading.get_ident()
        self.writable = task.is_writable
        self._task = task
        self._code = code
        self._tell = tell
        self._waits = True

    @property
    def exhausted(self) -> bool:
        return not self._waits

    @property
    def code(self) -> Any:
        return self._code

    def next_task(self, ahead: bool) -> Task | None:
        if ahead or not self._waits:
            return None  # a worker that is free sooner may have it
        self._waits = False
        given = self._task
        return Task(self, given.begin, given.end, given.deaths, given.is_careful)

    def message(self, task: Task) -> tuple[Any, ...]:
        kind, *rest = self._task.message
        return kind, self._code.wire, *rest

    def note_sent(self, task: Task, nbytes: int) -> None:
        pass

    def finish(self, task: Task, outcome: Outcome) -> Effect | None:
        return partial(self._tell, TaskDone(outcome, task.slot.index, []))

    def lost(self, task: Task, death: Death) -> Effect | None:
        told = death.begin, death.end, False, death.status, death.peak_bytes
        return partial(self._tell, TaskLost(*told, task.slot.index, []))

    def overdue(self, task: Task, begin: int, end: int, timeout_s: float) -> Effect | None:
        return partial(self._tell, TaskLost(begin, end, True, None, None, task.slot.index, []))

    def again(self, task: Task, has_begun: bool) -> Effect | None:
        self._waits = True
        return None

    def suspect(self, task: Task, deaths: int) -> None:
        raise AssertionError("a node has no nodes")

    def drop_rest(self, error: BaseException) -> Effect | None:
        self._waits = False
        return None

    def drop_all(self, error: BaseException) -> Effect | None:
        return self.drop_rest(error)

    def fail(self, task: Task | None, error: BaseException) -> Effect | None:
        self._waits = False
        return partial(self._tell, TaskRefused(_fault(error, "was sent to a worker"), task is None))


class Desk:
    """Takes messages in, one by one, in a thread of its own, and answers them."""

    def __init__(self, code: PoolCode, memory_limit: int | None, on_answer: OnAnswer) -> None:
        workers = code.workers or usable_cores()
        self._on_answer = on_answer
        self._said: deque[Spoken] = deque()
        self._functions: dict[int, _Function] = {}
        self._early: dict[int, list[tuple[int, PoolTask]]] = {}  # tasks that came before their function
        self._dropped: set[int] = set()  # tasks that were dropped and may come yet: messages overtake each other
        self._relays: dict[int, RelayJob] = {}
        self._inbox: queue.SimpleQueue[tuple[int, Frames] | None] = queue.SimpleQueue()
        self._pool = Dispatcher(
            replace(code.setup, workers=workers, cores=share_cores(workers), memory_limit=memory_limit),
            self._said.append,
        )
        self._pool.start()
        self._thread = threading.Thread(target=self._run, name="pardata-pool-island", daemon=True)
        self._thread.start()

    def put(self, number: int, frames: Frames) -> None:
        """Take in a message."""
        self._inbox.put((number, frames))

    def _run(self) -> None:
        while (given := self._inbox.get()) is not None:
            number, frames = given
            if number == FINISH:
                self._finish()
                return
            try:
                self._take(number, wire.decode(frames))
            except BaseException as error:  # an argument cannot be loaded here, whatever its code has raised
                fault = _fault(exit_as_error(error), "while its arguments were loaded")
                self._answer(number, TaskDone(Outcome(1, None, fault, 0.0, is_unread=True), 0, []))
            del given, frames

    def _take(self, number: int, message: Any) -> None:
        if isinstance(message, PoolTask) and number not in self._dropped:
            if message.key in self._functions:
                self._begin(number, message)
            else:
                self._early.setdefault(message.key, []).append((number, message))
            return
        self._dropped.discard(number)
        answer: Welcome | Nothing = Nothing()
        if isinstance(message, Hello):
            answer = Welcome(self._pool.setup.workers)
        elif isinstance(message, NewFunction):
            self._learn(message)
        elif isinstance(message, DropTasks):
            self._drop(message.numbers)
        self._on_answer(number, wire.encode(answer))

    def _learn(self, message: NewFunction) -> None:
        for key in message.gone:
            self._functions.pop(key, None)
        self._functions[message.key] = self._load(message.frames)
        for number, task in self._early.pop(message.key, []):
            self._begin(number, task)

    def _load(self, frames: Frames) -> _Function:
        """Return a function. Its arrays become its workers' own: those in shared memory would be one for all."""
        try:
            own = [part if isinstance(part, bytes) else np.array(part) for part in frames]
            return _Function(self._pool.encode(wire.decode(own)), None)
        except BaseException as error:
            return _Function(None, _fault(exit_as_error(error), "while its function was being loaded"))

    def _begin(self, number: int, task: PoolTask) -> None:
        function = self._functions[task.key]
        if function.fault is not None:
            self._answer(number, TaskDone(Outcome(1, None, function.fault, 0.0), 0, []))
            return
        relay = self._relays[number] = RelayJob(task, function.code, partial(self._end, number))
        try:
            self._pool.add(relay)
        except Exception as error:  # the pool has ended, as by its initializer
            self._end(number, TaskRefused(_fault(error, "was begun"), True))

    def _drop(self, numbers: list[int]) -> None:
        """End tasks; those of them that have come to their end meanwhile are answered already."""
        here = {number: relay for number in numbers if (relay := self._relays.pop(number, None)) is not None}
        self._dropped.update(number for number in numbers if number not in here)
        for early in self._early.values():
            self._dropped.difference_update([number for number, _ in early])
            early[:] = [(number, task) for number, task in early if number not in numbers]
        self._pool.end_jobs(set(here.values()).__contains__)
        for number in numbers:
            self._on_answer(number, wire.encode(Nothing()))

    def _end(self, number: int, answer: PoolAnswer) -> None:
        """Answer a task, unless it was dropped."""
        if self._relays.pop(number, None) is not None:
            self._answer(number, answer)

    def _answer(self, number: int, answer: PoolAnswer) -> None:
        if isinstance(answer, TaskDone | TaskLost):
            answer = answer._replace(said=self._take_said())
        try:
            frames = wire.encode(answer)
        except Exception as error:
            assert isinstance(answer, TaskDone)
            frames = wire.encode(answer._replace(outcome=_unsent(answer.outcome, error)))
        self._on_answer(number, frames)

    def _take_said(self) -> list[Spoken]:
        """Return what workers have said; what they said before they sent an outcome is there."""
        self._pool.catch_up()
        return [self._said.popleft() for _ in range(len(self._said))]

    def _finish(self) -> None:
        self._pool.close(wait=True)
        said = [self._said.popleft() for _ in range(len(self._said))]
        self._on_answer(FINISH, wire.encode(News([], None, said)))

    def abort(self) -> None:
        """End the pool, whatever it is at."""
        self._inbox.put(None)
        self._pool.end_now()
        self._thread.join()


class PoolIsland:
    """The pool of a node. Whoever has opened it holds it; when nobody does any more, it ends."""

    def __init__(self, code: PoolCode, memory_limit: int | None, on_answer: OnAnswer) -> None:
        self._desk = Desk(code, memory_limit, on_answer)
        weakref.finalize(self, _abort, self._desk).atexit = False  # then all pools are closed

    def take(self, number: int, frames: Frames) -> None:
        """Take in a message, or `FINISH`, after which there is none. Never waits."""
        self._desk.put(number, frames)

    def close(self) -> None:
        """End the pool, whatever it is at. Returns when its processes are gone."""
        self._desk.abort()


def _abort(desk: Desk) -> None:
    """End a pool in a thread of its own: the garbage collector may call this anywhere."""
    threading.Thread(target=desk.abort, name="pardata-closer").start()


def _fault(error: BaseException, when: str) -> Fault:
    return Fault.of(error, "pool", place=f"a task of the pool, {when}")


def _unsent(outcome: Outcome, error: Exception) -> Outcome:
    """Return the outcome that replaces one that cannot be sent home: an error, at the item whose value is to blame."""
    values = unpack(outcome.values) if isinstance(outcome.values, list | bytes) else [outcome.values]
    index = next((index for index, value in enumerate(values) if _cannot_leave(value)), 0)
    told = SerializationError(f"the result cannot be sent back: {explain_unpicklable(values[index])} ({error})")
    before = values[:index] if isinstance(outcome.values, list) else None
    return Outcome(index + 1, before, _fault(told, "while its result was sent"), outcome.seconds)


def _cannot_leave(value: Any) -> bool:
    try:
        wire.encode(value)
    except Exception:
        return True
    return False
