"""Takes in the messages of workers: the outcomes of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pardata.channel.collector import Collector
from pardata.codec.access import Access
from pardata.pool.jobs.job import Effect, Effects, Job, Outcome, Task
from pardata.pool.processes.assignments import Assignments, WorkerSlot
from pardata.pool.statistics import Log
from pardata.pool.worker.messages import unpack
from pardata.runtime.faults import Fault

_MOST_OWED: Final = 4  # results that are taken before a worker is told so; it has twice as many slots


class Intake:
    """Takes in outcomes. Everything here is called with the pool's lock held.

    Parameters
    ----------
    dropped : set
        The numbers of tasks whose outcomes do not count.
    end_dropped : callable
        Ends a worker whose first task is dropped.
    queue : callable
        Has a job asked for tasks again.
    wake : callable
        Wakes the pool's thread.
    after : callable
        Has an effect made when the output that came before it is shown.
    """

    def __init__(
        self,
        log: Log,
        collector: Collector,
        assignments: Assignments,
        effects: Effects,
        dropped: set[int],
        end_dropped: Callable[[WorkerSlot], None],
        queue: Callable[[Job], None],
        wake: Callable[[], None],
        after: Callable[[Effect], None],
    ) -> None:
        self._log = log
        self._collector = collector
        self._assignments = assignments
        self._note = effects.note
        self._dropped = dropped
        self._end_dropped = end_dropped
        self._queue = queue
        self._wake = wake
        self._after = after

    def collect(self) -> bool:
        """Take in an outcome. Return whether there was one."""
        claims = self._collector.next()
        if claims is None:
            return False
        claim = claims[0]
        number = claim.number
        try:
            outcome = Outcome(*unpack(claim.receiver.read(claim, Access.RESULT).items.pop()))
        except BaseException as failure:  # the result cannot be unpickled; a Ctrl-C is delayed (`Uninterrupted`)
            fault = Fault.of(failure, "pool", place="a task of the pool, while its result was being loaded here")
            outcome = Outcome(1, None, fault, 0.0, is_unread=True)
        # Before the outcome is acted on: this process has no successor that would take the message again.
        claim.receiver.commit(claim)
        if claim.receiver.owes >= _MOST_OWED and not claim.receiver.flush():
            self._wake()  # its socket is full: the pool's thread tries again
        task = self._assignments.tasks.get(number)
        is_wanted = task is not None and number not in self._dropped
        if task is not None and is_wanted:
            self._finish(task, outcome)  # first: who waits for a task that has left waits for nothing that anybody has
        self._dropped.discard(number)
        if task is not None:
            # Its number leaves the worker's row, so that a death from here on is not blamed on it.
            self._assignments.leave(number)
            if is_wanted:
                self._queue(task.job)
            self._end_dropped(task.slot)
        return True

    def _finish(self, task: Task, outcome: Outcome) -> None:
        self._log.add(task.slot.index, task, outcome)
        job = task.job
        try:
            effect = job.finish(task, outcome)
        except Exception as failure:  # no worker has the task any more: its caller would wait for ever
            effect = job.fail(None, failure)
        if (outcome.has_said or task.is_repeat) and effect is not None:
            self._after(effect)
        else:
            self._note(effect)
