"""The loop of a pool's worker process: take a task, call its function, send the outcome.

Functions lie in the main process's arena; each is decoded once per worker and kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pardata.channel.channel import CAN_ELIDE_WAKEUPS
from pardata.channel.order import Arrival
from pardata.codec.batch_codec import Batch
from pardata.codec.unpicklable import explain_unpicklable, is_picklable
from pardata.errors import SerializationError
from pardata.memory.arena import HEADER_WORDS
from pardata.pool.jobs.job import Outcome
from pardata.pool.worker.finalizer import finalize
from pardata.pool.worker.functions import Functions
from pardata.pool.worker.messages import CALL, ITEMS, CodeAddress, pack, squeeze, unpack
from pardata.pool.worker.shared import SharedValue
from pardata.pool.worker.tasks import Performer, performer
from pardata.pool.worker.words import STARTUP_NS, TaskProgress
from pardata.process import forked_child
from pardata.process.ending import bounded
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.call_items import apart
from pardata.runtime.context import WorkerContext, set_context
from pardata.runtime.events import Departing
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.header import BEGUN_NS, CURRENT_CALL, EXITS_NS, LOADING
from pardata.runtime.output.forwarding import flush_output
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.program import Cancelled, Leaving, StageFailure

# A worker looks for its next task so long before it goes to sleep: to wake it costs 40 us and more. It does so only
# while tasks come quickly one after the other.
_SPIN_S: Final = 200e-6


@dataclass
class TaskProgram:
    """The program of every worker of a pool.

    Parameters
    ----------
    initializer, initargs
        Called once in every worker process, before its first task.
    finalizer, finalargs
        Called once in every worker process that ends in peace, after its last task.
    most_tasks : int, optional
        After so many tasks the process makes room for a fresh one.
    native : bool
        Arguments are converted to the machine's byte order.
    """

    pool: str
    workers: int
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    finalizer: Callable[..., object] | None = None
    finalargs: tuple[Any, ...] = ()
    most_tasks: int | None = None
    shared: Any = None
    seed: int | None = None
    native: bool = False

    name = "pool"
    inplace = False
    redoable = True

    def order(self, following: dict[int, int]) -> Arrival[Any]:
        """Return the order of tasks: as they come."""
        return Arrival()

    def run(self, port: WorkerPort) -> None:
        """Run tasks until the pool closes, or as many as this process may."""
        shared = self.shared.open() if isinstance(self.shared, SharedValue) else self.shared
        context = WorkerContext(port.spec.index, self.workers, self.pool, shared, self.seed)
        set_context(context)
        port.outbox.placer.gives_parts = True  # what a call returns is the caller's
        self._initialize(port)
        port.words[STARTUP_NS] += time.monotonic_ns() - port.words[BEGUN_NS]
        try:
            is_leaving = self._work(_Loop(port, context, performer(self.native)))
        except Cancelled:  # the pool has no more work
            self._finalize(port)
            raise
        self._finalize(port)
        if is_leaving:
            port.report(Departing())  # the last that is heard of it
            raise Leaving

    def _work(self, loop: _Loop) -> bool:
        """Do tasks. Return whether this process has done as many as it may, and makes room for another one."""
        count = 0
        while loop.step():
            count += 1
            if count == self.most_tasks:
                loop.flush()
                return True
        return False

    def _finalize(self, port: WorkerPort) -> None:
        """Call the finalizer, within the time that a worker has for its end."""
        # From here on the parent gives it the time of an end, and not that of a call (`runtime.stopping`).
        port.words[EXITS_NS] = time.monotonic_ns()
        if self.finalizer is not None:
            with bounded():
                finalize(self.finalizer, self.finalargs)
                flush_output()

    def _initialize(self, port: WorkerPort) -> None:
        if self.initializer is None:
            return
        port.words[CURRENT_CALL] = LOADING
        here = forked_child.generation
        try:
            self.initializer(*self.initargs)
            leave_if_forked(here)
        except BaseException as error:
            leave_if_forked(here, error)
            error = exit_as_error(error)
            raise StageFailure(Fault.of(error, "pool", place="the pool's initializer"), error) from None
        port.loaded()


class _Loop:
    def __init__(self, port: WorkerPort, context: WorkerContext, do: Performer) -> None:
        segment, at = port.outbox.arena.segment, port.spec.parent_at
        parent = memoryview(segment.map)[at : at + 8 * HEADER_WORDS].cast("q")
        self._port = port
        self._context = context
        self._do = do
        self._progress = TaskProgress(port.words, parent)
        self._functions = Functions(segment)
        self._gap_s = 0.0

    def step(self) -> bool:
        """Do one task. Return False if there will be none."""
        port = self._port
        try:
            batches = self._take()
        except Exception as error:  # an argument cannot be unpickled
            batch = port.claimed()
            fault = Fault.of(error, "pool", place="a task of the pool, while its arguments were loaded")
            outcome = Outcome(1, None, fault, 0.0, is_unread=True)
            kind = CALL
        else:
            if batches is None:
                return False
            batch = batches[0]
            task = unpack(batch.items.pop())
            kind = task[0]
            port.count(1)
            outcome = self._perform(task)
            del task, batches
        self._context._leave()
        if flush_output():
            outcome = outcome._replace(has_said=True)
        outcomes = [outcome]
        del outcome
        self._publish(batch, outcomes, kind == ITEMS)
        # Behind the outcome: a death up to here still has the position of its last call.
        self._progress.end()
        port.commit()
        return True

    def flush(self) -> None:
        """Tell the parent which tasks are done."""
        self._port.collector.flush()

    def _take(self) -> list[Batch] | None:
        """Return the next task. Looks for a moment before it sleeps, if that was enough the last time."""
        port = self._port
        begin = time.perf_counter()
        batches = port.try_take()
        if batches is None and self._gap_s < 2 * _SPIN_S:
            port.poll()
            while (batches := port.try_take()) is None and time.perf_counter() - begin < _SPIN_S:
                os.sched_yield()
                if not CAN_ELIDE_WAKEUPS:
                    port.poll()
        if batches is None:
            batches = port.take()
        self._gap_s = time.perf_counter() - begin
        return batches

    def _perform(self, task: tuple[Any, ...]) -> Outcome:
        try:
            fn = self._functions.get(CodeAddress(*task[1]))
        except Exception as error:
            fault = Fault.of(error, "pool", place="a task of the pool, while its function was being loaded")
            return Outcome(1, None, fault, 0.0)
        if task[0] == ITEMS and type(task[4]) is not bytes:
            task = (*task[:4], apart(task[4]), *task[5:])
        return self._do(task, fn, self._progress, self._context)

    def _publish(self, batch: Batch, outcomes: list[Outcome], are_items: bool) -> None:
        """Send the only one of `outcomes`. Nothing else may have it: new arrays in it are then sent as they are."""
        port = self._port
        message: list[Any] = []
        try:
            done, values, *rest = outcomes[0]
            if are_items and values is not None:
                values = pack(values)
            message.append(squeeze((done, values, *rest), values, outcomes[0].fault))
            del values
            if type(message[0]) is not bytes:
                outcomes.clear()
            port.publish(batch.with_items(message, None))
        except Exception as error:  # no memory, or a value that cannot be pickled
            outcome = outcomes[0] if outcomes else _outcome(message[0], are_items)
            port.publish(batch.with_items([tuple(_unsent(outcome, error))], None))


def _outcome(message: tuple[Any, ...], are_items: bool) -> Outcome:
    done, values, *rest = message
    return Outcome(done, unpack(values) if are_items else values, *rest)


def _unsent(outcome: Outcome, error: Exception) -> Outcome:
    """Return the outcome that replaces one that cannot be sent: an error, at the item whose value is to blame."""
    values = outcome.values if isinstance(outcome.values, list) else [outcome.values]
    index = next((i for i, value in enumerate(values) if not is_picklable(value)), 0)
    if not isinstance(error, MemoryError):
        told = SerializationError(f"the result cannot be sent back: {explain_unpicklable(values[index])}")
        error = told.with_traceback(error.__traceback__)
    fault = Fault.of(error, "pool", place="a task of the pool, while its result was sent")
    before = values[:index] if isinstance(outcome.values, list) else None
    return Outcome(index + 1, before, fault, outcome.seconds)
