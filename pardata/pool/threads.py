"""A pool of threads: the same jobs, no processes. For functions that let go of the GIL, and for debugging."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any, ClassVar

from pardata.errors import WorkerLostError
from pardata.pool.arrays.addresses import LocalPlaces, Places, array_here
from pardata.pool.arrays.rows import OpenWork
from pardata.pool.arrays.work import Work
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Effect, Job, Outcome, Task
from pardata.pool.lifecycle import PoolEvent, PoolLife, PoolState
from pardata.pool.open_backends import open_backends
from pardata.pool.recording import log_of
from pardata.pool.worker.copies import OnCopies
from pardata.pool.worker.finalizer import finalize
from pardata.pool.worker.tasks import performer
from pardata.pool.worker.words import HAS_IDLE_WORKER, POSITION, ThreadProgress
from pardata.process.capacity import explained
from pardata.process.interrupts import Latch, Uninterrupted, start_thread
from pardata.runtime.context import WorkerContext, set_context
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.library_limits import limit_thread
from pardata.runtime.recording.record import Surroundings
from pardata.runtime.settings import as_here


def _take(effects: Iterable[Effect | None]) -> None:
    """Call the effects that users may notice. Without the lock."""
    for effect in filter(None, effects):
        effect()


class ThreadBackend:
    """Threads that take tasks from one queue."""

    places: ClassVar[Places] = LocalPlaces()

    def __init__(self, setup: Setup) -> None:
        self.setup, self._perform = setup, performer(setup.native)
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.next_number: Callable[[], int] = itertools.count().__next__
        self._parent = memoryview(array("q", bytes(512)))
        self._begin_anew()

    def _begin_anew(self) -> None:  # without jobs and threads, and with locks that nobody holds
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()
        self._changed = threading.RLock()
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()  # the garbage collector may put: it takes no lock
        self._jobs: deque[Job] = deque()
        self._running: list[Job] = []  # once per task that is at work
        self._idle = 0
        self._life = PoolLife()
        self.log = log_of(self.setup.workers, self.setup.record)
        self._here = threading.local()
        self._threads: list[tuple[threading.Thread, Latch]] = []

    def start(self) -> None:
        with self._changed:
            self._life.on(PoolEvent.STARTED)  # jobs may wait for threads that are not there yet
        for index, end in enumerate(Latch() for _ in range(self.setup.workers)):
            thread = threading.Thread(None, as_here(self._run), "pardata-pool-thread", (index, end), daemon=True)
            self._threads.append((thread, end))  # all of them, before the first one could be the last that ends
        try:
            for thread, _ in self._threads:
                with explained("a pool"):
                    start_thread(thread)
        except BaseException:  # as Ctrl-C
            for end in (end for thread, end in self._threads if thread.ident is None):
                self._leave(end)
            self.end_now()
            raise

    @property
    def is_open(self) -> bool:
        return self._life.is_open

    @property
    def is_busy(self) -> bool:
        return bool(self._jobs or self._running or self.lazy or self._life.callers)

    def encode(self, fn: Any) -> Any:
        return SimpleNamespace(wire=fn)  # in the same process tasks name it by itself

    def encode_work(self, work: Work, code: Any) -> Any:
        return SimpleNamespace(wire=OpenWork(work, array_here))

    def catch_up(self) -> None:
        """Do nothing: threads print to the streams themselves."""

    def calling(self) -> contextlib.AbstractContextManager[None]:
        return self._life.calling(self.wake)

    def add(self, job: Job) -> None:
        with self._changed:
            if self._life.state is not PoolState.OPEN or self._life.is_abandoned:  # a look instead of a call per task
                self._life.check_open()
            self._queue(job)

    def reschedule(self, job: Job) -> None:
        with self._changed:
            if (error := self._life.error) is None:
                self._queue(job)
                return
            effect = job.fail(None, error)
        _take([effect])

    def wake(self) -> None:
        for _ in range(self.setup.workers):
            self._wakes.put(None)

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """In a thread of this pool: do waiting tasks, as the task at hand may need their results. Elsewhere nothing."""
        if not hasattr(self._here, "progress"):
            return False
        while not is_there():
            with self._changed:
                found = self._next_task()
            if found is None:
                return False
            self._do(*found, self._context(self._here.context.index))
            set_context(self._here.context, is_thread=True)
        return True

    def cancel(self, job: CallJob) -> bool:
        return False  # a thread cannot be ended

    def end_jobs(self, is_meant: Callable[[Job], bool]) -> None:
        with Uninterrupted():
            with self._changed:
                jobs = [job for job in dict.fromkeys([*self._jobs, *self._running]) if is_meant(job)]
                effects = [job.drop_rest(CancelledError()) for job in jobs]
            _take(effects)

    def cancel_waiting(self) -> None:
        with self._changed:
            effects = [job.drop_rest(CancelledError()) for job in self._jobs]
            self.lazy.clear()
            self._life.callers.clear()
        _take(effects)

    def close(self, wait: bool, kill: bool = False) -> None:
        with self._changed:
            self._life.on(PoolEvent.CLOSE)
            if wait:
                self._life.let_go(self.lazy)
            effects = self._fail(WorkerLostError("the pool was ended before its work was done")) if kill else []
        self.wake()
        _take(effects)
        if wait:
            for thread, end in self._threads:
                if thread.ident is not None and thread is not threading.current_thread():
                    end.wait()
                    thread.join()

    def end_now(self) -> None:
        self.close(wait=False, kill=True)
        if not self._running and self.setup.initializer is None and self.setup.finalizer is None:
            self.close(wait=True)  # no user's code runs, and none will begin

    def abandon(self) -> None:
        self._life.is_abandoned = True
        self.wake()

    def forget(self, error: BaseException) -> None:
        self._begin_anew()
        self._life.on(PoolEvent.BREAK, error)

    def statistics(self) -> dict[str, Any]:
        with self._changed:
            return self.log.statistics()

    def surroundings(self, kind: str) -> Surroundings:
        return self.log.surroundings(self.setup.name, kind)

    def _queue(self, job: Job) -> None:
        if not job.queued and not job.exhausted:
            job.queued = True
            self._jobs.append(job)
        for _ in range(self._idle):
            self._wakes.put(None)

    def _next_task(self) -> tuple[Task, tuple[Any, ...]] | None:
        """Return a task and its message: items may be forgotten as soon as the lock is free."""
        for _ in range(len(self._jobs)):
            job = self._jobs.popleft()
            task = job.next_task(False)
            job.queued = not job.exhausted
            if job.queued:
                self._jobs.append(job)
            if task is not None:
                self._running.append(job)
                return task, job.message(task)
        return None

    def _wait(self) -> tuple[Task, tuple[Any, ...]] | None:
        """Return the next task; None at the end."""
        while True:
            with self._changed:
                if (found := self._next_task()) is not None:
                    self._parent[HAS_IDLE_WORKER] = int(self._idle > 0 and not self._jobs)
                    return found
                if self._life.error is not None or (not self._life.is_open and not self.is_busy):
                    self._life.end()  # what is queued from now on fails: nobody would do it
                    self.wake()  # the others, which may sleep
                    return None
                self._idle += 1  # under the lock: a job that is queued from here on wakes it
                self._parent[HAS_IDLE_WORKER] = int(bool(self._running) and not self._jobs)
            self._wakes.get()
            with self._changed:
                self._idle -= 1

    def _context(self, index: int) -> WorkerContext:
        return WorkerContext(index, self.setup.workers, self.setup.name, self.setup.shared, self.setup.seed)

    def _run(self, index: int, end: Latch) -> None:
        open_backends.add(self)
        try:
            set_context(context := self._context(index), is_thread=True)
            limit_thread(self.setup.cores)
            self._here.context = context
            self._here.progress = ThreadProgress(memoryview(array("q", bytes(512))), self._parent)
            if self._initialize():
                self.log.workers[index]["start_s"] = self.log.spent_s
                while (found := self._wait()) is not None:
                    self._do(*found, context)
                    del found
                finalize(self.setup.finalizer, self.setup.finalargs)
        finally:
            self._leave(end)

    def _leave(self, end: Latch) -> None:
        """Take in that a thread ends, or was not started; the last one ends the pool."""
        with self._changed:
            end.open()
            if not all(other.is_open for _, other in self._threads):
                return
            open_backends.discard(self)
            self._life.end()
            self.log.keep()
        self.setup.has_ended()

    def _initialize(self) -> bool:
        if self.setup.initializer is not None:
            try:
                self.setup.initializer(*self.setup.initargs)
            except BaseException as error:
                self._break(exit_as_error(error))
                return False
        return True

    def _break(self, error: BaseException) -> None:
        broken = WorkerLostError(f"the initializer of the pool raised {type(error).__name__}: {error}")
        broken.__cause__ = error
        with self._changed:
            effects = self._fail(broken)
        self.wake()
        _take(effects)

    def _fail(self, error: BaseException) -> list[Effect | None]:
        """Break the pool, unless it has ended: jobs that wait fail with its first error."""
        self._life.on(PoolEvent.BREAK, error)
        effects = [job.fail(None, self._life.error or error) for job in self._jobs]
        self._jobs.clear()
        return effects

    def _do(self, task: Task, message: tuple[Any, ...], context: WorkerContext) -> None:
        set_context(context, is_thread=True)
        progress: ThreadProgress = self._here.progress
        outer, progress.job = progress.job, task.job  # a task that waits for others does them meanwhile
        task.position = lambda: int(progress.words[POSITION])
        try:
            fn = OnCopies(message[1]) if task.job.writable else message[1]
            outcome = self._perform(message, fn, progress, context)
        except BaseException as error:  # SystemExit and the like
            outcome = Outcome(1, None, Fault.of(exit_as_error(error), "pool", place="a task of the pool"), 0.0)
        context._leave()
        progress.end()
        progress.job = outer
        message = ()
        with self._changed:
            self._running.remove(task.job)
            self.log.add(context.index, task, outcome)
            effect = task.job.finish(task, outcome)
            self._queue(task.job)
        with contextlib.suppress(Exception):
            _take([effect])
