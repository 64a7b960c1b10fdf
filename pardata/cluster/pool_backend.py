"""A pool past one machine: the jobs are here, and the pool of each node does their tasks.

      callers -- jobs -> this thread -- tasks --> PoolCrossing ~~~> PoolIsland on a node
              <- futures, results <---- answers <-            <~~~

A task is what a worker of a node does at a time: a call, or a chunk of a map. The nodes' pools tell what has become of
each, and the job that it is of decides here, as in a pool on one machine.
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
from typing import Any, NoReturn

from pardata.cluster import wire
from pardata.cluster.engine import ClusterEngine
from pardata.cluster.pool_crossing import HomeCode, HomeFunctions
from pardata.cluster.pool_loop import TaskLoop
from pardata.cluster.pool_messages import PoolCode
from pardata.cluster.port import Frames
from pardata.errors import ConfigError, InternalError, WorkerLostError
from pardata.pool.arrays.addresses import HomePlaces, Places
from pardata.pool.arrays.rows import Work
from pardata.pool.backend import let_go
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Job
from pardata.pool.lifecycle import PoolEvent, PoolLife
from pardata.pool.processes.pool_thread import PoolThread
from pardata.process.interrupts import Hastened, Uninterrupted
from pardata.runtime.recording.record import Surroundings


class ClusterBackend:
    """The callers' side of a pool past one machine (see `pool.backend.Backend`).

    Parameters
    ----------
    workers : int, optional
        Of each node; default: its cores.
    """

    _loop: TaskLoop

    def __init__(self, engine: ClusterEngine, setup: Setup, workers: int | None) -> None:
        self.setup = setup
        self.places: Places = HomePlaces()
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.lazy: weakref.WeakSet[Any] = weakref.WeakSet()
        self._engine = engine
        self._workers = workers
        self._lock = threading.RLock()
        self._life = PoolLife()
        self._functions = HomeFunctions()
        self._job_numbers = itertools.count()
        self._pid = os.getpid()
        self._thread = PoolThread()

    def start(self) -> None:
        """Have a pool opened on each node. Raises `ConfigError` if there is no cluster, or it cannot be there."""
        code = _encode(PoolCode(replace(self.setup, dashboard=None), self._workers))
        try:
            self._thread.start(self, self._begin, code)
        except BaseException:  # as Ctrl-C
            self.end_now()
            raise
        self.setup = replace(self.setup, workers=sum(self._loop.crossing.pools.workers.values()) or 1)

    def _begin(self, code: Frames) -> Callable[[], None]:
        """Open the pools; return the function that feeds them. Called by the pool's thread."""
        try:
            loop = TaskLoop(self.setup, code, self._engine.connect(), self._life, self._lock, self.lazy)
        except BaseException:
            with self._lock:
                self._life.on(PoolEvent.ENDED)
            raise
        self._loop = loop
        with self._lock:
            self._life.on(PoolEvent.STARTED)
        return loop.run

    def add(self, job: Job) -> None:
        """Take a job. Raises RuntimeError after `close`, `WorkerLostError` if the pool broke."""
        self._check_process()
        with Uninterrupted():
            with self._lock:
                self._life.check_open()
                self._loop.queue(job)
                self._loop.dispatch()
            self._loop.effects.take()
            self._loop.wake()

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now, or none any more."""
        self._check_process()
        with Uninterrupted():
            with self._lock:
                error = self._life.error
                if error is None:
                    self._loop.queue(job)
                    self._loop.dispatch()
                else:
                    self._loop.effects.note(job.fail(None, error))
            self._loop.effects.take()
            self._loop.wake()

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            self._refuse_fork()

    def _refuse_fork(self) -> NoReturn:
        raise RuntimeError(
            f"this pool belongs to process {self._pid}, of which process {os.getpid()} was forked: make a pool here"
        )

    def wake(self) -> None:
        """Have the pool's thread look again. Takes no lock."""
        if hasattr(self, "_loop"):
            self._loop.wake()

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do nothing: the work is elsewhere."""
        return False

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that a node has. Return False if it is done."""
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
                for job in loop.drop(is_meant):
                    loop.effects.note(job.drop_all(CancelledError()))
            loop.effects.take()
            loop.wake()

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no node has."""
        if os.getpid() != self._pid:
            return
        with Uninterrupted():
            with self._lock:
                for job in self._loop.jobs:
                    self._loop.effects.note(job.drop_rest(CancelledError()))
                self.lazy.clear()
            self._loop.effects.take()
            self._loop.wake()

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
        """Close at once, and return when the pools of the nodes are gone."""
        with Hastened(self.wake):
            self.close(wait=True, kill=True)

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

    def encode(self, fn: Callable[..., Any]) -> HomeCode:
        """Return the encoded function; errors as for `add`."""
        self._check_process()
        self._life.check_open()
        return self._functions.get(fn)

    def encode_work(self, work: Work, code: Any) -> NoReturn:
        """Raise an error: rows go as items of a map (`pool.arrays.by_value`)."""
        raise InternalError("a pool on a cluster has no jobs on arrays in shared memory")

    def catch_up(self) -> None:
        """Return when all that workers have said until now is shown: it comes with the answers."""
        if os.getpid() == self._pid:
            self._loop.console.catch_up()

    def next_number(self) -> int:
        """Return the number of the next job."""
        return next(self._job_numbers)

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of each worker and of each node, and the longest calls."""
        self._check_process()
        with self._lock:
            nodes = [replace(node) for node in list(self._loop.crossing.nodes.values())]
            return {
                **self._loop.log.statistics(),
                "sent_bytes": sum(node.sent_bytes for node in nodes),
                "received_bytes": sum(node.received_bytes for node in nodes),
                "nodes": nodes,
            }

    def surroundings(self, kind: str) -> Surroundings:
        self._check_process()
        return self._loop.log.surroundings(self.setup.name, kind)


def _encode(code: PoolCode) -> Frames:
    try:
        return wire.encode(code)
    except Exception as error:
        raise ConfigError(
            f"the pool's initializer or finalizer, or what it shares, cannot be sent to other nodes: {error}"
        ) from error
