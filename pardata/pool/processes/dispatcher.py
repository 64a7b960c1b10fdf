"""The pool of processes behind the handle, as its callers see it. Its thread supervises the workers and feeds them.

      callers' threads -- a task, if a worker is idle --> channel per worker --> workers
              |  else: jobs -> the pool's thread -------> channel per worker --> workers
              <- futures, results <- the pool's thread <- channel per worker <--
                                     (or a caller that waits for a short moment)

`loop` is the work of the pool's thread, which `inline` has a caller do: `scheduler` hands tasks out, `intake` takes
outcomes in, `terminations` ends workers. One lock guards all of it. When a worker dies of a task, the parent looks up
how far it was, and the job decides about the rest.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

from pardata.codec.object_codec import Encoded
from pardata.errors import WorkerLostError
from pardata.memory.shared_heap import shared_heap
from pardata.pool.arrays.addresses import Places, SharedPlaces
from pardata.pool.arrays.rows import Work
from pardata.pool.backend import let_go
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Job
from pardata.pool.lifecycle import PoolEvent, PoolLife
from pardata.pool.processes.function_store import Code, FunctionStore, describe_function
from pardata.pool.processes.inline import Inline
from pardata.pool.processes.loop import PoolLoop
from pardata.pool.processes.pool_thread import PoolThread
from pardata.pool.worker.loop import TaskProgram
from pardata.pool.worker.shared import SharedValue
from pardata.process.capacity import explained
from pardata.process.interrupts import Hastened, Uninterrupted
from pardata.runtime.events import Spoken
from pardata.runtime.recording.record import Surroundings
from pardata.runtime.wiring import HeapSink, encode_program


class Dispatcher:
    """The callers' side of a pool of processes.

    Parameters
    ----------
    on_output : callable, optional
        Told what workers say, in place of the streams here: in the pool of a node, whose home is elsewhere.
    """

    _loop: PoolLoop
    run_inline: Inline  # of `InlineRunner`, without a method in between: this is called for every result

    def __init__(self, setup: Setup, on_output: Callable[[Spoken], object] | None = None) -> None:
        self.setup = setup
        self._on_output = on_output
        self.places: Places = SharedPlaces()
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._life = PoolLife()
        self._functions = FunctionStore(Code)
        self._job_numbers = itertools.count()
        self._pid = os.getpid()
        self._thread = PoolThread()

    def start(self) -> None:
        """Have the workers started. Raises `ConfigError` if their program cannot be pickled."""
        program = _encode_program(self.setup)  # calls into the user's code, which may want to be in this thread
        try:
            with explained("a pool"):
                self._thread.start(self, self._begin, program)
        except BaseException:  # as Ctrl-C
            self.end_now()
            raise

    def _begin(self, program: tuple[TaskProgram, Encoded]) -> Callable[[], None]:
        """Start the workers; return the function that feeds them. Called by the pool's thread."""
        try:
            loop = PoolLoop(self.setup, program, self._life, self._lock, self.lazy, self._on_output)
        except BaseException:
            with self._lock:
                self._life.on(PoolEvent.ENDED)
            raise
        self._loop = loop
        self.run_inline = loop.inline.run
        with self._lock:
            self._life.on(PoolEvent.STARTED)
        return self._work

    def _work(self) -> None:
        try:
            self._loop.run()
        finally:
            with self._lock:
                self._functions.clear()
            self.setup.has_ended()

    def add(self, job: Job) -> None:
        """Give the pool a job, and a worker that is idle its first task.

        Raises RuntimeError after `close`, `WorkerLostError` if the pool broke.
        """
        if os.getpid() != self._pid:
            self._refuse_fork()
        loop = self._loop
        with Uninterrupted():
            try:
                with self._lock:
                    self._life.check_open()
                    loop.scheduler.queue(job)
                    loop.scheduler.dispatch()
                loop.effects.take()
            except BaseException:  # of another thread's making: the tasks of others may have waited for this
                loop.topology.wake()
                raise
        if self.setup.timeout_s is not None:
            loop.topology.wake()

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now, or none any more."""
        if os.getpid() != self._pid:
            self._refuse_fork()
        loop = self._loop
        with Uninterrupted():
            with self._lock:
                error = self._life.error
                if error is None:
                    loop.scheduler.queue(job)
                    loop.scheduler.dispatch()
                else:
                    loop.effects.note(job.fail(None, error))
            loop.effects.take()

    def _refuse_fork(self) -> None:
        raise RuntimeError(
            f"this pool belongs to process {self._pid}, of which process {os.getpid()} was forked: make a pool here"
        )

    def wake(self) -> None:
        """Have the pool's thread look again. Takes no lock."""
        if hasattr(self, "_loop"):
            self._loop.topology.wake()

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
        loop = self._loop
        with Uninterrupted():
            with self._lock:
                tasks = [task for task in loop.assignments.tasks.values() if is_meant(task.job)]
                jobs = [job for job in loop.scheduler.jobs if is_meant(job)]
                for task in tasks:
                    loop.terminations.drop(task)
                for job in dict.fromkeys([*jobs, *(task.job for task in tasks)]):
                    loop.effects.note(job.drop_all(CancelledError()))
            loop.effects.take()
            loop.topology.wake()

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""
        if os.getpid() != self._pid:
            return  # a forked child has a copy of the handle; the pool is its parent's
        with self._lock:
            self._life.on(PoolEvent.CLOSE)
            if wait:
                let_go(self.lazy)  # nobody takes their results while this waits
            if kill:
                self._life.on(PoolEvent.BREAK, WorkerLostError("the pool was ended before its work was done"))
        self.wake()
        if wait:
            self._thread.join()

    def end_now(self) -> None:
        """Close at once, and return when the workers are gone; after Ctrl-C they are killed."""
        with Hastened(self._hurry):
            self.close(wait=True, kill=True)

    def _hurry(self) -> None:
        self._life.is_hurried = True  # before the look: the pool's thread looks at this after it has set `_loop`
        if hasattr(self, "_loop"):
            self._loop.hurry()

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no worker has."""
        if os.getpid() != self._pid:
            return
        loop = self._loop
        with Uninterrupted():
            with self._lock:
                for job in loop.scheduler.jobs:
                    loop.effects.note(job.drop_rest(CancelledError()))
                self.lazy.clear()
            loop.effects.take()

    def abandon(self) -> None:
        """End when everything is done: nobody holds the pool. This may be called by the garbage collector."""
        if os.getpid() == self._pid:
            self._life.is_abandoned = True
            self.wake()

    def forget(self, error: BaseException) -> None:
        """Do nothing: each method asks whose the pool is."""

    @property
    def is_open(self) -> bool:
        """Return whether `add` is allowed."""
        return self._life.is_open and os.getpid() == self._pid

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""
        return self._loop.is_busy

    def encode(self, fn: Callable[..., Any]) -> Code:
        """Return the encoded function; errors as for `add`: a pool that has ended keeps nothing."""
        if os.getpid() != self._pid:
            self._refuse_fork()
        self._life.check_open()
        code: Code = self._functions.get(fn)
        return code

    def encode_work(self, work: Work, code: Code) -> Code:
        """Return the encoded work, which names its function by `code`."""
        return Code(replace(work, fn=code.wire), describe_function(work.fn), self._functions.copies, code)

    def catch_up(self) -> None:
        """Return when all that workers have said until now is shown."""
        if os.getpid() == self._pid:
            self._loop.topology.console.catch_up()

    def next_number(self) -> int:
        """Return the number of the next job."""
        return next(self._job_numbers)

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of each worker, and the longest calls."""
        if os.getpid() != self._pid:
            self._refuse_fork()  # the pool's thread may have held the lock
        loop = self._loop
        with self._lock:
            loop.count()
            sent_bytes, received_bytes = loop.assignments.sent_bytes, loop.log.received_bytes
            return {**loop.log.statistics(), "sent_bytes": sent_bytes, "received_bytes": received_bytes}

    def surroundings(self, kind: str) -> Surroundings:
        if os.getpid() != self._pid:
            self._refuse_fork()
        with self._lock:  # the memory in which the workers record is not given back meanwhile
            return self._loop.log.surroundings(self.setup.name, kind)


def _encode_program(setup: Setup) -> tuple[TaskProgram, Encoded]:
    """Return the program of every worker, and the same encoded. Raises `ConfigError` if it cannot be pickled."""
    program = TaskProgram(
        setup.name, setup.workers, setup.initializer, setup.initargs, setup.finalizer, setup.finalargs,
        setup.max_tasks_per_worker, setup.shared, setup.seed, setup.native,
    )  # fmt: skip
    what = "the pool's initializer or finalizer, or what it shares,"
    sink = HeapSink(shared_heap())
    if setup.shared is not None:
        shared = SharedValue(encode_program(setup.shared, what, program, sink, is_shared=True))
        return program, encode_program(replace(program, shared=shared), what, program, sink)
    return program, encode_program(program, what, program, sink)
