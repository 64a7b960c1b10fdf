"""A pool of worker processes: submit, map, map_array.

      caller's threads -> jobs -> the pool's thread -- channel per worker --> workers
                       <- futures <-                 <-- channel per worker --

The pool's thread is supervisor and dispatcher. A worker has one task to work on and one ahead; everything else stays
with its job, so that it can still be cut to size. A killed worker's tasks are in its channel still, and its
successor does them.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import socket
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final, Protocol

from pardata.channel.channel import socket_pair
from pardata.channel.message import Batch, Encoded
from pardata.channel.outbox import FARM_WINDOW
from pardata.errors import ConfigError, WorkerLostError
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.home import Remains, home
from pardata.pool.chunking import Chunks, Chunksize, check_chunksize
from pardata.pool.tasks import CallTask, CodeAddress, MapTask, Outcome, TaskProgram
from pardata.runtime.faults import Fault
from pardata.runtime.limits import usable_cores
from pardata.runtime.process import fork_server
from pardata.runtime.supervisor import Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, Wired, connect, encode_program
from pardata.runtime.worker import Port

fork_server.preload.append("pardata.pool.tasks")

_SLOTS: Final = FARM_WINDOW + 2
_FUNCTIONS_KEPT: Final = 64

Task = Any


class Job(Protocol):
    """Something that is made of tasks. All methods but the first are called by the pool's thread."""

    def next_task(self) -> Task | None:
        """Return the next task; None if there is none now."""

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Take in what came of a task."""

    def fail(self, task: Task, error: BaseException) -> None:
        """Take in that a task could not be sent, or was lost with its workers."""

    @property
    def exhausted(self) -> bool:
        """Whether `next_task` will never return a task again."""


class Code:
    """An encoded function in the main process's arena; lives as long as a task that names it."""

    _keys = itertools.count()

    def __init__(self, fn: object, name: str) -> None:
        memory = home()
        encoded = encode_program(fn, name, fn, HomeSink(memory))
        self._anchors = encoded.anchors
        self._block = memory.arena.reserve(max(1, len(encoded.payload)))
        self._block[: len(encoded.payload)] = memoryview(encoded.payload)
        blocks = [(block.offset, block.extent_bytes) for block in encoded.anchors]
        self.address = CodeAddress(next(self._keys), self._block.offset, len(encoded.payload), blocks)


class _CallJob:
    """One call and its future."""

    def __init__(self, code: Code, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self._code = code
        self._task: CallTask | None = CallTask(code.address, number, args, kwargs)

    def next_task(self) -> Task | None:
        task, self._task = self._task, None
        return task if task is not None and self.future.set_running_or_notify_cancel() else None

    @property
    def exhausted(self) -> bool:
        return self._task is None

    def finish(self, task: Task, outcome: Outcome) -> None:
        if outcome.fault is not None:
            self.future.set_exception(outcome.fault.exception())
        else:
            self.future.set_result(outcome.values)

    def fail(self, task: Task, error: BaseException) -> None:
        self._task = None
        if not self.future.done():
            if task is None:
                self.future.set_running_or_notify_cancel()
            self.future.set_exception(error)


class _MapJob:
    """A map over items that are there: chunks go out, values come back in order."""

    def __init__(self, code: Code, items: list[tuple[Any, ...]], chunks: Chunks) -> None:
        self._code = code
        self._items = items
        self._chunks = chunks
        self._done = threading.Condition()
        self._values: dict[int, tuple[int, list[Any], BaseException | None]] = {}
        self._cancelled = False

    def next_task(self) -> Task | None:
        chunk = None if self._cancelled else self._chunks.next()
        if chunk is None:
            return None
        return MapTask(self._code.address, chunk[0], self._items[chunk[0] : chunk[1]])

    @property
    def exhausted(self) -> bool:
        return self._cancelled or self._chunks.position >= self._chunks.total

    def finish(self, task: Task, outcome: Outcome) -> None:
        done = len(outcome.values or ()) + (outcome.fault is not None)
        if done:
            self._chunks.record(done, outcome.seconds)
        error = outcome.fault.exception() if outcome.fault is not None else None
        self._put(
            task.number if task is not None else 0,
            len(task.items) if task is not None else 0,
            outcome.values or [],
            error,
        )

    def fail(self, task: Task, error: BaseException) -> None:
        if task is None:
            self._cancelled = True
        self._put(task.number if task is not None else -1, 0, [], error)

    def _put(self, number: int, size: int, values: list[Any], error: BaseException | None) -> None:
        with self._done:
            self._values[number] = (size, values, error)
            self._done.notify_all()

    def results(self, timeout: float | None) -> Iterator[Any]:
        """Yield the values in order; raises the first error when it is its turn."""
        import time

        deadline = None if timeout is None else time.monotonic() + timeout
        number = 0
        try:
            while number < len(self._items):
                with self._done:
                    while number not in self._values and -1 not in self._values:
                        rest = None if deadline is None else deadline - time.monotonic()
                        if (rest is not None and rest <= 0) or not self._done.wait(rest):
                            raise TimeoutError
                    size, values, error = self._values.pop(number) if number in self._values else self._values[-1]
                values.reverse()
                while values:
                    yield values.pop()
                if error is not None:
                    raise error
                number += size
        finally:
            self._cancelled = True


class _Core:
    """The pool behind the handle: owns workers, channels and the thread."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.error: BaseException | None = None
        self._home = home()
        self._jobs: deque[Job] = deque()
        self._running: dict[int, tuple[Job, Task]] = {}
        self._numbers = itertools.count()
        self._closing = False
        self._killed = False
        self._lock = threading.Lock()
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
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
        spans = [(worker.span, "the pool's workers") for worker in wired]
        spans.append((arena.span, "the main process"))
        control, _ = self._pair()
        program = TaskProgram()
        self._port = Port(parent.spec(limit, spans), segment, [control, *parent.socks], program, arena)
        self._wake, wake = self._pair()
        self._port.collector.watch(wake, lambda: self._drain(wake))
        self._supervisor = Supervisor(segment, self._port.collector, self._on_event, self._on_lost)
        encoded: Encoded = encode_program(program, "the pool", program, HomeSink(self._home))
        threads = max(1, usable_cores() // self.workers)
        self._placed = []
        self._of_worker = {}
        for index, worker in enumerate(wired):
            control, child = self._pair()
            placed = PlacedSpec(self._home, worker.spec(limit, spans), encoded, threads)
            self._placed.append(placed)
            words = worker.span.words(segment)
            process = Worker("pool", placed.at, words, control, [child, *worker.socks], redoable=True)
            self._of_worker[process] = index
            self._supervisor.start(process)

    # -- the caller's side -----------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Give the pool a job."""
        with self._lock:
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self.error is not None:
                raise self.error
            self._jobs.append(job)
        self.wake()

    def wake(self) -> None:
        """Have the pool's thread look again."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake.send(b"!")

    def close(self, wait: bool, cancel: bool, kill: bool = False) -> None:
        """Take no more jobs; end when the ones there are done, or cancelled, or at once."""
        with self._lock:
            self._closing = True
            self._killed = self._killed or kill
            if cancel:
                for job in self._jobs:
                    future = getattr(job, "future", None)
                    if future is not None:
                        future.cancel()
        self.wake()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the pool's thread -----------------------------------------------------------------------------------------

    @staticmethod
    def _drain(sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while sock.recv(64):
                pass

    def _run(self) -> None:
        try:
            while not self._killed and self.error is None and not (self._closing and not self._jobs and not self._running):
                self._dispatch()
                if not self._collect():
                    self._port.collector.wait()
        except BaseException as error:
            self.error = error
        finally:
            self._end()

    def _dispatch(self) -> None:
        while self._jobs and self._port.outbox.has_room:
            job = self._jobs[0]
            task = job.next_task()
            if job.exhausted:
                with self._lock:
                    self._jobs.popleft()
            elif task is None or len(self._jobs) > 1:
                self._jobs.rotate(-1)
            if task is None:
                if not job.exhausted and not any(not other.exhausted for other in self._jobs if other is not job):
                    return
                continue
            number = next(self._numbers)
            self._running[number] = (job, task)
            try:
                self._port.publish(Batch(0, number, 1, 0, [task]))
            except Exception as error:
                del self._running[number]
                job.fail(task, error)

    def _collect(self) -> bool:
        """Take in what has come. Return whether anything has."""
        batches = self._port.try_take()
        if batches is None:
            return False
        batch = batches[0]
        outcome = batch.items.pop()
        self._port.commit()
        job, task = self._running.pop(batch.number)
        job.finish(task, outcome)
        return True

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "failed":
            fault: Fault = event[1]
            self.error = self.error or fault.exception()

    def _on_lost(self, lost: Lost) -> None:
        error = WorkerLostError(lost.message)
        if lost.batch is None:
            self.error = self.error or error
            return
        number = lost.batch[1]
        self._port.outbox.edges[0].senders[self._of_worker[lost.worker]].abandon(number)
        job, task = self._running.pop(number)
        self._supervisor.restart(lost.worker)
        job.fail(task, error)

    def _end(self) -> None:
        self._closing = True
        try:
            self._supervisor.stop()
        finally:
            error = self.error or WorkerLostError("the pool has ended")
            for job, task in self._running.values():
                job.fail(task, error)
            while self._jobs:
                self._jobs.popleft().fail(None, error)
            self._running.clear()
            self._port.collector.close()
            for sock in self._socks:
                sock.close()
            live = [
                (lease, *block) for receiver in self._port.receivers for lease, block in (receiver.live or {}).items()
            ]
            remains = Remains(self._home, self._spans, live)
            for receiver in self._port.receivers:
                receiver.retire_to(remains)
            self._home.arena.trim()


_open_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()


class WorkerPool(Executor):
    """Worker processes for tasks: a `concurrent.futures.Executor` that knows arrays.

    A worker that is killed is replaced and its task done again; a task that kills three workers gets a
    `WorkerLostError`, and the pool goes on. Functions may be lambdas and closures; arrays that they have captured
    travel once, not once per task.

    Parameters
    ----------
    workers : int, optional
        Default: the cores that this process may use.

    Raises
    ------
    ConfigError
        `workers` is not an int of at least 1.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and (not isinstance(workers, int) or workers < 1):
            raise ConfigError(f"workers must be an int of at least 1, not {workers!r}")
        self.workers = workers or usable_cores()
        self._core = _Core(self.workers)
        self._codes: dict[Any, Code] = {}
        self._numbers = itertools.count()
        _open_pools.add(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of ``fn(*args, **kwargs)``. Large arrays among the results are read-only."""
        job = _CallJob(self._code(fn), next(self._numbers), args, kwargs)
        self._core.add(job)
        return job.future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: Chunksize = "auto",
    ) -> Iterator[Any]:
        """Return an iterator over ``fn(*items)``, in order; work begins at once.

        Parameters
        ----------
        iterables : iterables, read to the end of the shortest before anything else happens
        timeout : float, optional
            Seconds from now on until the last result, else TimeoutError.
        chunksize : int or "auto"
            Items per task; "auto" aims at tasks of 20 ms.
        """
        items = list(zip(*iterables, strict=False))
        job = _MapJob(self._code(fn), items, Chunks(len(items), self.workers, check_chunksize(chunksize)))
        if items:
            self._core.add(job)
        return job.results(timeout)

    def map_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        *,
        chunksize: Chunksize = "auto",
        out: Any = None,
        progress: bool = False,
    ) -> Any:
        """Apply `fn` to consecutive rows of `array` and put the results together.

        The result equals ``fn(array)`` for any `fn` that treats rows (entries along axis 0) independently, whatever the
        chunking. If it raises, `out` may be partly written and no other memory stays reserved.

        Parameters
        ----------
        fn : callable
            Gets a read-only array of some rows, returns as many: of any shape and dtype, but the same for all.
        array : array_like, shape (n, ...), any dtype without objects
            Not copied if it lives in shared memory (`pardata.empty`, a result of this method, an item of a run).
        chunksize : int (rows per call) or "auto"
            "auto" hands workers chunks of about 20 ms, and calls `fn` with blocks that fit the cache.
        out : array, shape (n, ...), optional
            Where to write; without a copy if it lives in shared memory.
        progress : bool
            Show a bar.

        Returns
        -------
        array, shape (n, ...), of the dtype of the first chunk's result, in shared memory; or `out`

        Raises
        ------
        ConfigError
            `array` has no axis 0 or holds objects, `out` does not fit, or `fn` cannot be pickled.
        ValueError
            `fn` returned another number of rows, another shape or dtype than for the first chunk.

        Source: guided self-scheduling, Polychronopoulos & Kuck 1987
        """
        from pardata.pool.array_map import map_array

        return map_array(self._core, fn, array, check_chunksize(chunksize), out, progress)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with `wait`, return when everything is done and every process is gone."""
        self._core.close(wait, cancel_futures)
        self._codes.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down; on Ctrl-C and the like without waiting for tasks."""
        kill = kind is not None and not issubclass(kind, Exception)
        self._core.close(wait=True, cancel=kill, kill=kill)

    def _code(self, fn: Callable[..., Any]) -> Code:
        is_hashable = isinstance(fn, Hashable)
        code = self._codes.get(fn) if is_hashable else None
        if code is None:
            code = Code(fn, f"the function {getattr(fn, '__name__', fn)!r}")
            if is_hashable and not getattr(fn, "__closure__", None):  # what a closure has captured may change
                self._codes[fn] = code
                if len(self._codes) > _FUNCTIONS_KEPT:
                    del self._codes[next(iter(self._codes))]
        return code

    def __del__(self) -> None:
        core = getattr(self, "_core", None)
        if core is not None:
            core.close(wait=False, cancel=False)

    def __repr__(self) -> str:
        return f"<WorkerPool of {self.workers} processes>"


@atexit.register
def _close_all() -> None:
    """At the end of the interpreter wait for what was submitted, unless an exception ends it."""
    failed = getattr(sys, "last_value", None) is not None
    for pool in list(_open_pools):
        pool._core.close(wait=True, cancel=failed, kill=failed)
