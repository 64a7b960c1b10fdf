"""The pool behind the handle: its thread is dispatcher and supervisor.

      caller's threads -> jobs -> this thread -- channel per worker --> workers
              <- futures, results <-          <-- channel per worker --

A worker has one task to work on and one ahead; everything else stays with its job, so that it can still be cut to
size. A killed worker's tasks are in its channel still, and its successor does them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
from collections import deque
from typing import Any, Final

from pardata.channel.channel import socket_pair
from pardata.channel.message import Batch
from pardata.channel.outbox import FARM_WINDOW
from pardata.errors import WorkerLostError
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.home import home
from pardata.pool.jobs import Job, Task
from pardata.pool.tasks import TaskProgram
from pardata.runtime.faults import Fault
from pardata.runtime.limits import usable_cores
from pardata.runtime.port import Port
from pardata.runtime.process import fork_server
from pardata.runtime.supervisor import Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, Wired, connect, dissolve, encode_program

_SLOTS: Final = FARM_WINDOW + 2


class Dispatcher:
    """Workers, their channels, and the thread that feeds them."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pid = os.getpid()
        self._home = home()
        self._jobs: deque[Job] = deque()
        self._running: dict[int, tuple[Job, Task]] = {}
        self._numbers = itertools.count()
        self._error: BaseException | None = None
        self._closing = False
        self._lock = threading.Lock()
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self._index: dict[Worker, int] = {}
        fork_server.start()
        self._wire()
        self._thread = threading.Thread(target=self._run, name="pardata-pool", daemon=True)
        self._thread.start()

    # -- building --------------------------------------------------------------------------------------------------

    def _wired(self, name: str, index: int, in_parent: bool) -> Wired:
        span = self._home.take_span()
        self._spans.append(span)
        return Wired(name, index, span, True, [0], in_parent)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket_pair()
        self._socks += pair
        return pair

    def _wire(self) -> None:
        segment, arena = self._home.segment, self._home.arena
        parent = self._wired("the main process", 0, True)
        wired = [self._wired("pool", index, False) for index in range(self.workers)]
        connect([parent], wired, 0, {}, _SLOTS)
        connect(wired, [parent], 0, {}, _SLOTS)
        self._socks += [sock for worker in (parent, *wired) for sock in worker.socks]
        limit = available_bytes() // 2 + arena.statistics()["live_bytes"]
        spans = [(worker.span, "the pool's workers") for worker in wired] + [(arena.span, "the main process")]
        program = TaskProgram()
        control, _ = self._pair()
        self._port = Port(parent.spec(limit, spans), segment, [control, *parent.socks], program, arena)
        self._wake, woken = self._pair()
        self._port.collector.watch(woken, lambda: _drain(woken))
        self._supervisor = Supervisor(segment, self._port.collector, self._on_event, self._on_lost)
        encoded = encode_program(program, "the pool", program, HomeSink(self._home))
        threads = max(1, usable_cores() // self.workers)
        for index, worker in enumerate(wired):
            control, child = self._pair()
            placed = PlacedSpec(self._home, worker.spec(limit, spans), encoded, threads)
            self._placed.append(placed)
            words = worker.span.words(segment)
            process = Worker("pool", placed.at, words, control, [child, *worker.socks], redoable=True)
            self._index[process] = index
            self._supervisor.start(process)

    # -- the caller's side -----------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Give the pool a job. Raises RuntimeError after `close`, `WorkerLostError` if the pool broke."""
        with self._lock:
            if self._error is not None:
                raise WorkerLostError(f"the pool has ended: {self._error}") from self._error
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """Have the pool's thread look again."""
        with contextlib.suppress(OSError):  # full: it will look; closed: it has ended
            self._wake.send(b"!")

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""
        if os.getpid() != self._pid:
            return  # a forked child has a copy of the handle; the pool is its parent's
        with self._lock:
            self._closing = True
            if kill and self._error is None:
                self._error = WorkerLostError("the pool was ended before its work was done")
        self.wake()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def waiting_jobs(self) -> list[Job]:
        """Return the jobs that still have tasks to hand out."""
        with self._lock:
            return list(self._jobs)

    # -- the pool's thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._error is None and not (self._closing and not self._jobs and not self._running):
                self._dispatch()
                if not self._collect():
                    self._port.collector.wait()
        except BaseException as error:
            self._error = error
        finally:
            self._end()

    def _dispatch(self) -> None:
        """Send tasks, of the jobs in turn, while a worker can take one."""
        without_task = 0
        while without_task < len(self._jobs) and self._port.outbox.has_room:
            job = self._jobs[0]
            task = job.next_task()
            if job.exhausted:
                self._jobs.popleft()
            else:
                self._jobs.rotate(-1)
                without_task += task is None
            if task is not None:
                without_task = 0
                self._send(job, task)

    def _send(self, job: Job, task: Task) -> None:
        number = next(self._numbers)
        self._running[number] = (job, task)
        try:
            self._port.publish(Batch(0, number, 1, 0, [task]))
        except Exception as error:  # an argument cannot be pickled, or there is no memory for it
            del self._running[number]
            job.fail(task, error)

    def _collect(self) -> bool:
        """Take in an outcome. Return whether there was one."""
        try:
            batches = self._port.try_take()
            if batches is None:
                return False
            number, outcome, error = batches[0].number, batches[0].items.pop(), None
        except Exception as failure:  # the result cannot be unpickled
            number, outcome, error = self._port.claimed().number, None, failure
        self._port.commit()
        job, task = self._running.pop(number, (None, None))
        if job is None:
            return True  # it had been given up when its third worker died
        if error is not None:
            job.fail(task, error)
        else:
            job.finish(task, outcome)
        return True

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "failed" and self._error is None:  # the worker's own loop, not a task
            fault: Fault = event[1]
            self._error = fault.exception()

    def _on_lost(self, lost: Lost) -> None:
        """Fail the task that took three workers down, and go on without it."""
        if lost.batch is None:
            self._error = WorkerLostError(lost.message("the pool", "they were starting"))
            return
        number = lost.batch[1]
        self._port.outbox.edges[0].senders[self._index[lost.worker]].abandon(number)
        self._supervisor.restart(lost.worker)
        job, task = self._running.pop(number, (None, None))
        if job is not None and task is not None:  # else its outcome was published before the third death
            job.fail(task, WorkerLostError(lost.message("the pool", f"they worked on {task.describe()}")))

    def _end(self) -> None:
        with self._lock:
            self._closing = True
        try:
            self._supervisor.stop()
        finally:
            error = self._error or WorkerLostError("the pool has ended")
            for job, task in self._running.values():
                job.fail(task, error)
            while self._jobs:
                self._jobs.popleft().fail(None, error)
            self._running.clear()
            self._placed.clear()
            dissolve(self._home, [self._port], self._spans, self._socks)


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(64):
            pass
