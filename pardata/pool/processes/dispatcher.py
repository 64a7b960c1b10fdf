"""The pool behind the handle: its thread supervises the workers and feeds them.

      callers' threads -- a task, if a worker is idle --> channel per worker --> workers
              |  else: jobs -> the pool's thread -------> channel per worker --> workers
              <- futures, results <- the pool's thread <- channel per worker <--
                                     (or a caller who waits for a short moment)

A worker has one task to work on and, if tasks are short, one ahead; everything else stays with its job, so that it can
still be cut to size. When a worker dies of a task, the parent looks up how far it was and decides what becomes of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any, Final

from pardata.codec.batch_codec import Encoded
from pardata.errors import WorkerLostError
from pardata.pool.arrays.addresses import SharedPlaces
from pardata.pool.arrays.rows import Work
from pardata.pool.backend import Log, Places, Setup, open_crews
from pardata.pool.bars import TaskBars
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import CallJob, Effect, Job, Task
from pardata.pool.processes.assignments import Assignments, WorkerSlot
from pardata.pool.processes.function_store import Code, FunctionStore, name_of
from pardata.pool.processes.terminations import Terminations
from pardata.pool.processes.topology import MOST_TASKS, Topology, encode_setup
from pardata.pool.worker.loop import TaskProgram
from pardata.pool.worker.tasks import Outcome, unpack
from pardata.pool.worker.words import HAS_IDLE_WORKER
from pardata.process.interrupts import Latch, Uninterrupted, start_thread
from pardata.runtime.faults import Fault
from pardata.runtime.header import INCARNATION, SENT_BYTES
from pardata.runtime.output import show
from pardata.runtime.supervisor import Lost, Worker

# A caller who waits for a result looks for it himself for so long: to be woken costs 40 us and more, twice.
_HELP_S: Final = 200e-6
_MOST_OWED: Final = 4  # results that are taken before a worker is told so; it has twice as many slots


class Dispatcher:
    """Workers, their channels, and the thread that feeds them.

    The thread makes and takes back everything that has to be taken back, so no interrupt of a caller comes between.
    """

    _topology: Topology

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.workers = setup.workers
        self.lock = threading.RLock()
        self.places: Places = SharedPlaces()
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()
        self._log = Log.of(setup.workers)
        self._functions = FunctionStore(Code)
        self._job_numbers = itertools.count()
        self._pid = os.getpid()
        self._jobs: deque[Job] = deque()
        self._effects: deque[Effect] = deque()
        self._losses: list[Lost] = []
        self._error: BaseException | None = None
        self._shut = WorkerLostError("the pool has ended")  # as its own error, after a regular end
        self._closing = False
        self._begin_s = time.perf_counter()
        self._gap_s = 0.0
        self._is_hungry = False  # what is written for the workers to see
        self._bars = TaskBars()
        self._helps = threading.Lock()
        self._assignments = Assignments()
        self._stands, self._has_ended = Latch(), Latch()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None  # of the start

    # -- the caller's side -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have the workers started. Raises `ConfigError` if what they are to get cannot be pickled."""
        program = encode_setup(self.setup)  # calls into the user's code, which may want to be in this thread
        start_thread(threading.Thread(target=self._run, args=(program,), name="pardata-pool", daemon=True))
        self._stands.wait()
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure

    def add(self, job: Job) -> None:
        """Give the pool a job, and a worker that is idle its first task.

        Raises RuntimeError after `close`, `WorkerLostError` if the pool broke.
        """
        self._check_process()
        with Uninterrupted():
            with self.lock:
                self._check_open()
                self._queue(job)
                self._dispatch()
            self._take_effect()
        if self.setup.timeout_s is not None:
            self.wake()

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now, or none any more."""
        self._check_process()
        with Uninterrupted():
            with self.lock:
                if self._error is None:
                    self._queue(job)
                    self._dispatch()
                else:
                    self._note(job.fail(None, self._error))
            self._take_effect()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise RuntimeError(
                f"this pool belongs to process {self._pid}, of which process {os.getpid()} was forked: make a pool here"
            )

    def _check_open(self) -> None:
        if self._error is not None and self._error is not self._shut:
            raise WorkerLostError(f"the pool has ended: {self._error}") from self._error
        if self._closing:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def wake(self) -> None:
        """Have the pool's thread look again. Takes no lock."""
        if hasattr(self, "_topology"):
            self._topology.wake()

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do the pool's thread's work for a moment, while the caller waits for `is_there`; return what it says.

        Without this a caller is woken by the pool's thread, which is woken by the worker.
        """
        if self._gap_s > 2 * _HELP_S or os.getpid() != self._pid:
            self._gap_s *= 0.8  # the calls of late took longer than this: try again some time
            return False
        with Uninterrupted():  # or the pool's thread would sleep on, or the lock be kept
            waiting = self._topology.waiting
            if not self._helps.acquire(blocking=False):
                return False
            help_s = _HELP_S if timeout_s is None else min(timeout_s, _HELP_S)
            try:
                waiting.pause()
                self._stand_in(is_there, time.perf_counter() + help_s)
            finally:
                waiting.resume()
                self._helps.release()
                if self.setup.timeout_s is not None or self._terminations.verdicts or not self.is_open:
                    self.wake()  # what was meant for the pool's thread may have been read here: a late call, the end
            found = is_there()
            self._gap_s = 0.0 if found else self._gap_s + _HELP_S
        return found

    def _stand_in(self, is_there: Callable[[], bool], end_s: float) -> None:
        """Do what the pool's thread does when it is woken, until `is_there` or that time."""
        has_news = self._topology.waiting.has_news
        while not is_there() and time.perf_counter() < end_s:
            if not has_news():
                os.sched_yield()
                continue
            with self.lock:
                if self._is_over:
                    return
                self._handle(self._collector.selector.select(0))
            self._take_effect()

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that a worker has. Return False if it is done."""
        if os.getpid() != self._pid or job.future.done():
            return False
        self.end_jobs(lambda each: each is job)
        return job.future.cancelled()

    def end_jobs(self, is_meant: Callable[[Job], bool]) -> None:
        """Cancel the jobs that are meant; the workers that are at them are ended."""
        if os.getpid() != self._pid:
            return
        with Uninterrupted():
            with self.lock:
                tasks = [task for task in self._assignments.tasks.values() if is_meant(task.job)]
                jobs = dict.fromkeys(job for job in [*self._jobs, *(task.job for task in tasks)] if is_meant(job))
                for task in tasks:
                    self._terminations.drop(task)
                for job in jobs:
                    self._note(job.drop_all(CancelledError()))
            self._take_effect()
            self.wake()

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""
        if os.getpid() != self._pid:
            return  # a forked child has a copy of the handle; the pool is its parent's
        with self.lock:
            self._closing = True
            if wait:
                self.lazy.clear()  # nobody takes their results while this waits
            if kill and self._error is None:
                self._error = WorkerLostError("the pool was ended before its work was done")
        self.wake()
        thread = self._thread
        if wait and thread is not None and threading.current_thread() is not thread:
            self._has_ended.wait()
            thread.join()

    def cancel_waiting(self) -> None:
        """Cancel what no worker has."""
        with Uninterrupted():
            with self.lock:
                for job in self._jobs:
                    self._note(job.drop_rest(CancelledError()))
                self.lazy.clear()
            self._take_effect()

    def abandon(self) -> None:
        """End when everything is done: nobody holds the pool. This may be called by the garbage collector."""
        if os.getpid() == self._pid:
            self._closing = True
            self.wake()

    @property
    def is_open(self) -> bool:
        """Whether `add` is allowed."""
        return not self._closing and self._error is None and os.getpid() == self._pid

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done."""
        return bool(self._jobs or self._assignments.tasks or self.lazy)

    def encode(self, fn: Callable[..., Any]) -> Code:
        """Return the encoded function; errors as for `add`: a pool that has ended keeps nothing."""
        self._check_process()
        self._check_open()
        code: Code = self._functions.get(fn)
        return code

    def encode_work(self, work: Work, code: Code) -> Code:
        """Return the encoded work, which names its function by `code`."""
        return Code(replace(work, fn=code.wire), name_of(work.fn), self._functions.copies, code)

    def next_number(self) -> int:
        """Return the number of the next job."""
        return next(self._job_numbers)

    def statistics(self) -> dict[str, Any]:
        """Return what each worker did, and the longest calls."""
        with self.lock:
            for seat, entry in zip(self._seats, self._log.workers, strict=True):
                entry["start_s"] = seat.start_s
                entry["processes"] = int(seat.worker.words[INCARNATION])
            told = self._log.statistics(time.perf_counter() - self._begin_s)
            received = sum(int(seat.worker.words[SENT_BYTES]) for seat in self._seats)
            return {**told, "sent_bytes": self._assignments.sent_bytes, "received_bytes": received}

    # -- the pool's thread -----------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._error is not None or (self._closing and not self.is_busy)

    def _run(self, program: tuple[TaskProgram, Encoded]) -> None:
        self._thread = threading.current_thread()
        open_crews.add(self)
        try:
            self._begin(program)
        except BaseException as error:
            self._failure, self._closing = error, True
            self._stands.open()
        else:
            del program
            self._stands.open()
            self._work()
        finally:
            open_crews.discard(self)
            self._has_ended.open()

    def _begin(self, program: tuple[TaskProgram, Encoded]) -> None:
        star = Topology(self.setup, program, self._on_event, self._losses.append)
        self._supervisor, self._seats, self._collector = star.supervisor, star.seats, star.port.collector
        self._terminations = Terminations(self._seats, self._assignments, self.setup.timeout_s)
        self._topology = star

    def _work(self) -> None:
        try:
            while not self._is_over:
                self._topology.waiting.wait(self._due_s())
                with self.lock:
                    self._handle(self._collector.selector.select(0))
                    if not self._collector.flush():
                        self.wake()
                self._take_effect()
        except BaseException as error:
            self._error = error
        finally:
            self._end()

    def _due_s(self) -> float | None:
        """Start workers whose pause is over; return in how many seconds something has to be looked after."""
        with self.lock:
            due_s = [self._terminations.due_s(), self._supervisor.enforce(), 0.0 if self._losses else None]
        return min((each_s for each_s in due_s if each_s is not None), default=None)

    def _end(self) -> None:
        with self.lock:
            self._closing = True
        try:
            self._supervisor.stop()
            self._supervisor.listen()  # to what finalizers have printed
        finally:
            with self.lock:
                for seat in self._seats:
                    self._bars.close(self._tag(seat))
                error = self._error = self._error or self._shut
                for task in list(self._assignments.tasks.values()):
                    if task.number not in self._terminations.dropped:
                        self._note(task.job.fail(None, error))
                while self._jobs:
                    self._note(self._jobs.popleft().fail(None, error))
                self._assignments.tasks.clear()
                self._functions.clear()
                self._topology.close()
            self._take_effect()

    def _handle(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take in what has happened, and hand out what follows."""
        for key, _ in events:
            key.data()
        while self._collect():
            pass
        while self._losses:
            self._lose(self._losses.pop())
        self._terminations.enforce()
        self._dispatch()

    def _take_effect(self) -> None:
        """Call what the user may notice: callbacks of futures. Without the lock."""
        while self._effects:
            with contextlib.suppress(IndexError):
                self._effects.popleft()()

    def _note(self, effect: Effect | None) -> None:
        if effect is not None:
            self._effects.append(effect)

    def _queue(self, job: Job, first: bool = False) -> None:
        if not job.queued and not job.exhausted:
            job.queued = True
            if first:
                self._jobs.appendleft(job)
            else:
                self._jobs.append(job)

    # -- handing out -------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Send tasks, of the jobs in turn: to idle workers, then ahead."""
        if self._error is not None:
            return
        while self._jobs and self._jobs[0].exhausted:  # cancelled
            self._jobs.popleft().queued = False
        for load in range(MOST_TASKS):
            if not self._jobs:
                break
            self._fill(load)
        is_hungry = not self._jobs and bool(self._assignments.tasks) and not all([seat.numbers for seat in self._seats])
        if is_hungry != self._is_hungry:
            self._topology.port.words[HAS_IDLE_WORKER] = self._is_hungry = is_hungry

    def _fill(self, load: int) -> None:
        """Give a task to each worker that has `load` tasks, as long as there are any."""
        for seat in self._seats:
            while len(seat.numbers) == load:  # still, if a task could not be sent
                task = self._next_task(ahead=load > 0)
                if task is None:
                    return
                self._send(seat, task)

    def _next_task(self, ahead: bool) -> Task | None:
        for _ in range(len(self._jobs)):
            job = self._jobs[0]
            if ahead and type(job) is CallJob:
                return None  # the call at hand may wait for this one
            task = job.next_task(ahead)
            if job.exhausted:
                self._jobs.popleft()
                job.queued = False
            else:
                self._jobs.rotate(-1)
            if task is not None:
                return task
        return None

    def _send(self, seat: WorkerSlot, task: Task) -> None:
        try:
            self._assignments.send(seat, task)
        except Exception as error:  # an argument cannot be pickled, or there is no memory for it
            self._note(task.job.fail(task, error))
            self._queue(task.job)

    # -- taking in ---------------------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take in an outcome. Return whether there was one."""
        claims = self._collector.next()
        if claims is None:
            return False
        claim = claims[0]
        number = claim.number
        try:
            outcome = Outcome(*unpack(claim.receiver.read(claim).items.pop()))
        except Exception as failure:  # the result cannot be unpickled
            fault = Fault.of(failure, "pool", item="its result cannot be loaded here")
            outcome = Outcome(1, None, fault, 0.0, is_unread=True)
        claim.receiver.commit(claim)
        if claim.receiver.owes >= _MOST_OWED and not claim.receiver.flush():
            self.wake()  # its socket is full: the pool's thread tries again
        task = self._assignments.leave(number)
        if task is None:
            self._terminations.dropped.discard(number)
            return True
        seat: WorkerSlot = task.seat
        if number in self._terminations.dropped:
            self._terminations.dropped.discard(number)
            self._terminations.end_dropped(seat)
            return True
        self._log.add(seat.index, task, outcome)
        job = task.job
        self._note(job.finish(task, outcome))
        self._queue(job)
        self._terminations.end_dropped(seat)
        return True

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "failed" and self._error is None:  # the worker's own loop, not a task
            fault: Fault = event[1]
            self._error = WorkerLostError(f"a worker of the pool could not go on: {fault.error}, {fault.note}")
            self._error.__cause__ = fault.exception()
        elif event[0] == "bar":
            with contextlib.suppress(Exception):  # as of a terminal that is gone
                self._bars.show(self._tag(self._topology.seat_of(worker)), *event[1:])
        else:
            show(self._tag(self._topology.seat_of(worker)), event)

    def _tag(self, seat: WorkerSlot) -> str:
        return f"{self.setup.name} {seat.index}"

    def _lose(self, lost: Lost) -> None:
        """Decide what becomes of the task that a worker died of; start the next worker."""
        if lost.batch is None:
            self._error = lost.error("the pool")
            return
        seat = self._topology.seat_of(lost.worker)
        self._bars.close(self._tag(seat))
        task, effect, is_blamed = self._terminations.on_worker_death(seat, lost.batch[1])
        self._note(effect)
        if task is not None:
            self._queue(task.job, first=True)  # the calls behind it have waited less, and may rely on it
        self._terminations.bury_dropped(seat)
        self._log.workers[seat.index]["deaths"] += is_blamed
        self._supervisor.restart(lost.worker)
