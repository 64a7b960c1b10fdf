"""The callers' side of a pool that one thread feeds: what pools of processes here and those on nodes have in common.

      callers' threads -- jobs --> the loop --> workers
              <- futures, results <-- the loop <--

One lock guards the loop: the pool's thread holds it, or a caller that hands a task out by itself. A forked child has a
copy of both, and the lock may be one that nobody opens there: so each method asks first whose the pool is.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast

from pardata.errors import WorkerLostError
from pardata.pool.arrays.addresses import Places
from pardata.pool.backend import Backend
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Effects, Job
from pardata.pool.lifecycle import PoolEvent, PoolLife
from pardata.pool.pool_thread import PoolThread
from pardata.pool.statistics import Log
from pardata.process.capacity import explained
from pardata.process.interrupts import Hastened, Uninterrupted
from pardata.runtime.recording.record import Surroundings


class FeedingLoop(Protocol):
    """The work of the pool's thread. All but `wake` and `run` is called with the pool's lock held."""

    @property
    def effects(self) -> Effects:
        """Return what waits until the lock is free."""

    @property
    def log(self) -> Log:
        """Return what was noted of the tasks."""

    @property
    def jobs(self) -> Iterable[Job]:
        """Return the jobs that have tasks."""

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""

    def run(self) -> None:
        """Feed the workers until the pool is over; then end them."""

    def wake(self) -> None:
        """Have the thread look again. Takes no lock."""

    def queue(self, job: Job) -> None:
        """Have a job asked for tasks, if it has any."""

    def dispatch(self) -> None:
        """Hand out tasks, of the jobs in turn."""

    def drop(self, is_meant: Callable[[Job], bool]) -> Iterable[Job]:
        """End the tasks of the jobs that are meant; return these."""


T = TypeVar("T", bound=FeedingLoop)


class FedBackend(ABC, Generic[T]):
    """The callers' side of a pool (see `pool.backend.Backend`) whose thread feeds the workers."""

    _loop: T

    def __init__(self, setup: Setup, places: Places) -> None:
        self.setup = setup
        self.places = places
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._life = PoolLife()
        self._job_numbers = itertools.count()
        self._pid = os.getpid()
        self._thread = PoolThread()

    # -- the pool's thread ---------------------------------------------------------------------------------------------

    def _start(self, program: Any) -> None:
        """Have the thread started, and the workers by it. Raises the errors of `_open`."""
        try:
            with explained("a pool"):
                self._thread.start(cast(Backend, self), self._begin, program)  # with the methods of its own class
        except BaseException:  # as Ctrl-C
            self.end_now()
            raise

    def _begin(self, program: Any) -> Callable[[], None]:
        try:
            loop = self._open(program)
        except BaseException:
            with self._lock:
                self._life.on(PoolEvent.ENDED)
            raise
        self._loop = loop
        with self._lock:
            self._life.on(PoolEvent.STARTED)
        return self._work

    @abstractmethod
    def _open(self, program: Any) -> T:
        """Return the loop, with the workers started."""

    def _work(self) -> None:
        self._loop.run()

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def calling(self) -> AbstractContextManager[None]:
        """Return a context for a call that does more than to add one job."""
        return self._life.calling(self.wake)

    def add(self, job: Job) -> None:
        """Give the pool a job, and a worker that is idle its first task.

        Raises RuntimeError after `close`, `WorkerLostError` if the pool broke.
        """
        self._give(job, is_new=True)

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now, or none any more."""
        self._give(job, is_new=False)

    def _give(self, job: Job, is_new: bool) -> None:
        self._check_process()
        loop = self._loop
        with Uninterrupted():
            try:
                with self._lock:
                    if is_new:
                        self._life.check_open()
                    error = self._life.error
                    if error is None:
                        loop.queue(job)
                        loop.dispatch()
                    else:
                        loop.effects.note(job.fail(None, error))
                # Without the lock: callbacks of futures are the user's code.
                loop.effects.take()
            except BaseException:  # of another thread's making: the tasks of others may have waited for this
                loop.wake()
                raise
            if self._has_to_look:
                loop.wake()

    @property
    def _has_to_look(self) -> bool:
        """Whether the thread has to look at tasks that a caller has handed out."""
        return True

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that a worker has. Return False if it is done."""
        if self._is_copy or job.future.done():
            return False
        self.end_jobs(lambda each: each is job)
        return job.future.cancelled()

    def end_jobs(self, is_meant: Callable[[Job], bool]) -> None:
        """Cancel the jobs that are meant; the workers that are at them are ended."""
        if self._is_copy:
            return
        loop = self._loop
        with Uninterrupted():
            with self._lock:
                for job in loop.drop(is_meant):
                    loop.effects.note(job.drop_all(CancelledError()))
            loop.effects.take()
            loop.wake()

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no worker has."""
        if self._is_copy:
            return
        loop = self._loop
        with Uninterrupted():
            with self._lock:
                for job in loop.jobs:
                    loop.effects.note(job.drop_rest(CancelledError()))
                self.lazy.clear()
                self._life.callers.clear()
            loop.effects.take()
            loop.wake()

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""
        if self._is_copy:
            return
        with self._lock:
            self._life.on(PoolEvent.CLOSE)
            if wait:
                self._life.let_go(self.lazy)
            if kill:
                self._life.on(PoolEvent.BREAK, WorkerLostError("the pool was ended before its work was done"))
        self.wake()
        if wait:
            self._thread.join()

    def end_now(self) -> None:
        """Close at once, and return when the workers are gone."""
        with Hastened(self._hurry):
            self.close(wait=True, kill=True)

    def _hurry(self) -> None:
        """Take in a Ctrl-C while the end is waited for. Takes no lock."""
        self.wake()

    def abandon(self) -> None:
        """End when everything is done: nobody holds the pool. This may be called by the garbage collector."""
        if not self._is_copy:
            self._life.is_abandoned = True
            self.wake()

    # -- forked children -----------------------------------------------------------------------------------------------

    @property
    def _is_copy(self) -> bool:
        """Whether this is a forked child's copy of the handle: the pool is its parent's."""
        return os.getpid() != self._pid

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            self._refuse_fork()

    def _refuse_fork(self) -> NoReturn:
        raise RuntimeError(
            f"this pool belongs to process {self._pid}, of which process {os.getpid()} was forked: make a pool here"
        )

    def forget(self, error: BaseException) -> None:
        """Do nothing: each method asks whose the pool is."""

    # -- what there is -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Have the pool's thread look again. Takes no lock."""
        if hasattr(self, "_loop"):
            self._loop.wake()

    @property
    def is_open(self) -> bool:
        """Return whether `add` is allowed."""
        return self._life.is_open and not self._is_copy

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""
        return self._loop.is_busy

    def next_number(self) -> int:
        """Return the number of the next job."""
        return next(self._job_numbers)

    def surroundings(self, kind: str) -> Surroundings:
        """Return what pictures show beside the counts."""
        self._check_process()
        with self._lock:  # the memory in which workers record is not given back meanwhile
            return self._loop.log.surroundings(self.setup.name, kind)
