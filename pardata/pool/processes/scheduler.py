"""Hands out tasks: of the jobs in turn, to idle workers first, then ahead to workers that have one task already.

A worker has one task to work on and, if tasks are short, one ahead; everything else stays with its job, so that it can
still be cut to size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.job import Effects, Job, Task
from pardata.pool.lifecycle import PoolLife, torn_by
from pardata.pool.processes.assignments import Assignments, WorkerSlot
from pardata.pool.worker.words import HAS_IDLE_WORKER

MOST_TASKS: Final = 2  # with a worker: one at work, one ahead


class Scheduler:
    """The jobs that have tasks, and the handing out of these. Everything here is called with the pool's lock held.

    Parameters
    ----------
    words : memoryview
        The header of the parent's span.
    before_task : callable
        Called before a task is sent.
    """

    def __init__(
        self, life: PoolLife, slots: list[WorkerSlot], assignments: Assignments, effects: Effects, words: memoryview,
        before_task: Callable[[], None],
    ) -> None:  # fmt: skip
        self.jobs: deque[Job] = deque()
        self._life = life
        self._slots = slots
        self._assignments = assignments
        self._effects = effects
        self._words = words
        self._before_task = before_task
        self._has_idle_worker = False  # as the parent's word says, which this alone writes

    def queue(self, job: Job, first: bool = False) -> None:
        """Have a job asked for tasks, if it has any."""
        if not job.queued and not job.exhausted:
            job.queued = True
            if first:
                self.jobs.appendleft(job)
            else:
                self.jobs.append(job)

    def dispatch(self) -> None:
        """Send tasks, of the jobs in turn: to idle workers, then ahead."""
        if self._life.error is not None:
            return
        jobs = self.jobs
        while jobs and jobs[0].exhausted:  # cancelled
            jobs.popleft().queued = False
        for load in range(MOST_TASKS):
            if not jobs:
                break
            self._fill(load)
        has_idle = not jobs and bool(self._assignments.tasks) and not all([slot.numbers for slot in self._slots])
        if has_idle != self._has_idle_worker:
            # Busy workers read it between two calls (`TaskProgress.must_stop`): it is a hint, and comes late at worst.
            self._words[HAS_IDLE_WORKER] = self._has_idle_worker = has_idle

    def _fill(self, load: int) -> None:
        """Give a task to each worker that has `load` tasks, as long as there are any."""
        for slot in self._slots:
            while len(slot.numbers) == load:  # still, if a task could not be sent
                task = self._next_task(ahead=load > 0)
                if task is None:
                    return
                self._send(slot, task)

    def _next_task(self, ahead: bool) -> Task | None:
        for _ in range(len(self.jobs)):
            job = self.jobs[0]
            if ahead and type(job) is CallJob:
                return None  # the call at hand may wait for this one
            task = job.next_task(ahead)
            if job.exhausted:
                self.jobs.popleft()
                job.queued = False
            else:
                self.jobs.rotate(-1)
            if task is not None:
                return task
        return None

    def _send(self, slot: WorkerSlot, task: Task) -> None:
        self._before_task()
        try:
            self._assignments.send(slot, task)
        except BaseException as error:  # an argument cannot be pickled, or there is no memory for it
            is_of_sending = isinstance(error, Exception)
            self._effects.note(task.job.fail(task, error if is_of_sending else torn_by(error)))
            self.queue(task.job)
            if not is_of_sending:
                raise
