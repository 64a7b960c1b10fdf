"""The loop of a pool's thread: it supervises the workers, takes outcomes in, and hands tasks out.

        jobs -> Scheduler ---> channel per worker --> workers
futures, results <- Intake <-- channel per worker <--
              Terminations ---> kills
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from pardata.codec.object_codec import Encoded
from pardata.errors import PardataError, WorkerLostError
from pardata.pool.configuration import Setup
from pardata.pool.jobs.job import Effects, Job
from pardata.pool.lifecycle import PoolEvent, PoolLife, PoolState, torn_by
from pardata.pool.processes.assignments import Assignments
from pardata.pool.processes.inline import InlineRunner
from pardata.pool.processes.intake import Intake
from pardata.pool.processes.scheduler import Scheduler
from pardata.pool.processes.terminations import Terminations
from pardata.pool.processes.topology import Topology
from pardata.pool.recording import RecordingLog, log_of
from pardata.runtime.events import Failed, Spoken, WorkerEvent
from pardata.runtime.header import INCARNATION, SENT_BYTES
from pardata.runtime.stopping import POOL_CALLS_S
from pardata.runtime.supervisor import Lost, Worker
from pardata.runtime.worker.port import Program


class PoolLoop:
    """The workers and their supervision. Made, run and ended by the pool's thread.

    Parameters
    ----------
    lazy : set
        The maps that will have tasks, though they have none now: the pool does not end before them.
    """

    def __init__(
        self,
        setup: Setup,
        program: tuple[Program, Encoded],
        life: PoolLife,
        lock: threading.RLock,
        lazy: weakref.WeakSet[Any],
        on_output: Callable[[Spoken], object] | None,
    ) -> None:
        self.log = log_of(setup.workers, setup.record)
        self.effects = Effects()
        self.assignments = Assignments()
        self._life = life
        self._lock = lock
        self._lazy = lazy
        self._losses: list[Lost] = []
        self.topology = topology = Topology(setup, program, life, self._on_event, self._losses.append, on_output)
        if isinstance(self.log, RecordingLog):
            self.log.noted = topology.noted
        self._supervisor = topology.supervisor
        self._collector = topology.port.collector
        self.scheduler = Scheduler(
            life, topology.slots, self.assignments, self.effects, topology.port.words, self._tell_releases
        )
        self.terminations = Terminations(topology.slots, self.assignments, setup.timeout_s)
        self._intake = Intake(
            self.log, self._collector, self.assignments, self.effects, self.terminations.dropped,
            self.terminations.end_dropped, self.scheduler.queue, topology.wake,
            topology.console.after,
        )  # fmt: skip
        self.inline = InlineRunner(topology.waiting, self._stand_in, self.effects)
        self._is_timed = setup.timeout_s is not None

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""
        return bool(self.scheduler.jobs or self.assignments.tasks or self._lazy or self._life.callers)

    # -- for the callers' threads; see `fed_backend.FeedingLoop` -------------------------------------------------------

    @property
    def jobs(self) -> deque[Job]:
        """Return the jobs that have tasks."""
        return self.scheduler.jobs

    def wake(self) -> None:
        """Have the thread look again. Takes no lock."""
        self.topology.wake()

    def queue(self, job: Job) -> None:
        """Have a job asked for tasks, if it has any."""
        self.scheduler.queue(job)

    def dispatch(self) -> None:
        """Send tasks, of the jobs in turn."""
        self.scheduler.dispatch()

    def drop(self, is_meant: Callable[[Job], bool]) -> list[Job]:
        """End the tasks of the jobs that are meant, with their workers; return these jobs."""
        tasks = [task for task in self.assignments.tasks.values() if is_meant(task.job)]
        for task in tasks:
            self.terminations.drop(task)
        return list(dict.fromkeys([*filter(is_meant, self.jobs), *(task.job for task in tasks)]))

    def hurry(self) -> None:
        """Have the workers killed as soon as they are being ended. Any thread may call this; it takes no lock."""
        self._supervisor.hurry()

    # -- the work ------------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Return whether the pool's thread is to end, or has ended."""
        life = self._life  # its `is_open` would be a call more per message
        is_open = life.state is PoolState.OPEN and not life.is_abandoned
        return self.terminations.ends_all or life.error is not None or (not is_open and not self.is_busy)

    def run(self) -> None:
        """Feed the workers until the pool is over; then end them."""
        try:
            while not self._is_to_end():
                due_s = self._due_s()
                with self._lock:
                    # SYNC POINT: sleep. Outcomes that come behind this look ring.
                    may_sleep = self._collector.begin_sleep()
                if may_sleep:
                    self.topology.waiting.wait(due_s)
                with self._lock:
                    self._collector.end_sleep()
                    self._handle()
                    if not self._collector.flush():
                        self.topology.wake()
                self.effects.take_as_feeder()
        except BaseException as error:
            with self._lock:
                self._life.on(PoolEvent.BREAK, error)
        finally:
            self._end()

    def _is_to_end(self) -> bool:
        """Return whether this thread is to end the workers. From then on nobody stands in for it."""
        with self._lock:
            self.terminations.ends_all = self.is_over
            return self.terminations.ends_all

    def _stand_in(self, is_there: Callable[[], bool], end_s: float) -> None:
        """In a caller: do the work of the pool's thread, until `is_there` or that time."""
        has_news, collector = self.topology.waiting.has_news, self._collector
        try:
            with self._lock:
                if self.is_over:
                    return
                collector.end_sleep()  # it looks for messages itself: workers need not ring
            while not is_there() and time.perf_counter() < end_s:
                is_message = collector.has_unseen
                if not is_message and not has_news():
                    os.sched_yield()
                    continue
                with self._lock:
                    if self.is_over:
                        return
                    try:
                        if is_message:
                            self._take_in()
                        else:
                            self._handle()
                    except BaseException as error:  # what was half done would be waited for
                        self._life.on(PoolEvent.BREAK, error if isinstance(error, PardataError) else torn_by(error))
                        raise
                self.effects.take_as_feeder()
        finally:  # an event that concerns the thread may have been read here: a late call, the pool's end
            try:
                self._say_asleep()
            except BaseException:  # of another thread's making
                self._say_asleep()
                raise
            if self._is_timed or self.terminations.causes or not self._life.is_open:
                self.topology.wake()  # it finds that as soon as events wake it again

    def _say_asleep(self) -> None:
        """Say that this process sleeps, as its pool's thread does when nobody stands in for it."""
        with self._lock:
            # SYNC POINT: sleep. What has come while nobody rang is found here, and the thread told.
            if not self.is_over and not self._collector.begin_sleep():
                self.topology.wake()

    def _due_s(self) -> float | None:
        """Start workers whose pause is over; return the seconds until the next look."""
        with self._lock:
            due_s = [self.terminations.due_s(), self._supervisor.enforce(), 0.0 if self._losses else None]
        return min((each_s for each_s in due_s if each_s is not None), default=None)

    def _handle(self) -> None:
        """Take in all events and outcomes, and hand out tasks. Called with the lock held."""
        for key, _ in self._collector.selector.select(0):
            key.data()
        while self._intake.collect():
            pass
        while self._losses:  # behind the outcomes: a worker may have died when its task was done
            self._lose(self._losses.pop())
        self.terminations.enforce()
        self.scheduler.dispatch()

    def _take_in(self) -> None:
        """Take in outcomes alone, and hand out tasks. Called with the lock held."""
        while self._intake.collect():
            pass
        self.scheduler.dispatch()

    def _tell_releases(self) -> None:
        """Tell workers which results are gone, where memory is short: a task that follows finds their memory free."""
        for receiver in self._collector.receivers:
            if receiver.returns.leases:
                break
        else:
            return
        budget = self.topology.port.memory.budget
        is_short = not budget.allows(budget.widest_bytes() * (len(self.assignments.tasks) + 1))
        if is_short and not self._collector.flush():
            self.topology.wake()

    def _lose(self, lost: Lost) -> None:
        """Decide about the task that a worker died of; start the next worker."""
        if lost.batch is None:
            self._life.on(PoolEvent.BREAK, lost.error("the pool"))
            return
        slot = self.topology.slot_of(lost.worker)
        self.topology.console.close_bars(self.topology.tag(slot.index))
        task, effect, is_blamed = self.terminations.on_worker_death(slot, lost.batch[1])
        if effect is not None:
            self.topology.console.after(effect)  # what it has printed comes before the error
        if task is not None:
            self.scheduler.queue(task.job, first=True)  # the calls behind it have waited less, and may rely on it
        self.terminations.withdraw_dropped(slot)
        self.log.workers[slot.index]["deaths"] += is_blamed
        self._supervisor.restart(lost.worker)

    def count(self) -> None:
        """Read what the workers count themselves, until their memory is given back: others may have it then."""
        if self.log.end_s is not None:
            return
        slots = self.topology.slots  # not all of them, if the pool was ended while it started
        for slot, entry in zip(slots, self.log.workers, strict=False):
            entry["start_s"] = slot.start_s
            entry["processes"] = int(slot.worker.words[INCARNATION])
        self.log.received_bytes = sum(int(slot.worker.words[SENT_BYTES]) for slot in slots)

    def _on_event(self, worker: Worker, event: WorkerEvent) -> None:
        if isinstance(event, Failed) and self._life.error is None:  # the worker's own loop, not a task
            fault = event.fault
            error = WorkerLostError(f"a worker of the pool could not go on: {fault.error}, {fault.note}")
            error.__cause__ = fault.exception()
            with self._lock:
                self._life.on(PoolEvent.BREAK, error)

    def _end(self) -> None:
        with self._lock:
            self._life.on(PoolEvent.CLOSE)
            self.terminations.ends_all = True
        try:
            if self._life.is_hurried:
                self.hurry()
            self._supervisor.stop(POOL_CALLS_S)
            self._supervisor.listen()
            if self._life.error is not None:
                self.topology.console.hurry()
            self.topology.console.close()  # without the lock: it waits while standard output is blocked
        finally:
            with self._lock:
                self._fail_rest()
                self.count()
                self.log.keep()
                self.topology.close()
            self.effects.take_as_feeder()

    def _fail_rest(self) -> None:
        """Fail the jobs that are not done."""
        self._life.on(PoolEvent.ENDED)
        error = self._life.error
        assert error is not None
        for task in list(self.assignments.tasks.values()):
            if task.number not in self.terminations.dropped:
                self.effects.note(task.job.fail(None, error))
        while self.scheduler.jobs:
            self.effects.note(self.scheduler.jobs.popleft().fail(None, error))
        self.assignments.tasks.clear()
