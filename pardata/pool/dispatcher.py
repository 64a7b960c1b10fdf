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
import logging
import os
import select
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pardata.channel.channel import socket_pair
from pardata.channel.message import Batch
from pardata.channel.outbox import Edge, Outbox
from pardata.errors import WorkerLostError
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.home import home
from pardata.pool.addresses import SharedPlaces
from pardata.pool.chunking import AHEAD_S, Chunks
from pardata.pool.crew import Log, Places, Setup
from pardata.pool.jobs import CallJob, Code, Death, Effect, Job, Task
from pardata.pool.output import show
from pardata.pool.program import TaskProgram
from pardata.pool.tasks import CALL, Outcome, squeeze, unpack
from pardata.pool.words import HUNGRY, POSITION, STARTED_NS, STRIDE
from pardata.runtime.exits import describe_exit
from pardata.runtime.faults import Fault
from pardata.runtime.limits import usable_cores
from pardata.runtime.port import Port
from pardata.runtime.process import fork_server
from pardata.runtime.supervisor import Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, Wired, connect, dissolve, encode_program
from pardata.runtime.words import ATTEMPT, running_batch

_MOST_TASKS: Final = 2  # with a worker: one at work, one ahead
_SLOTS: Final = 8  # those, and up to four that are done and of which the worker has not told yet
# A caller who waits for a result looks for it himself for so long: to be woken costs 40 us and more, twice.
_HELP_S: Final = 200e-6
_FLUSH_EVERY: Final = 4  # so many results a caller takes before the workers are told that he has them
_PATIENCE_S: Final = 0.02  # until a signal is tried again for which the process was not far enough


class _Verdict(NamedTuple):
    """Why a worker is being ended: for this call of this task."""

    number: int
    position: int
    is_late: bool


class Seat:
    """A worker's place in the pool, over all its lives."""

    def __init__(self, index: int, worker: Worker, outbox: Outbox) -> None:
        self.index = index
        self.worker = worker
        self.outbox = outbox
        self.numbers: deque[int] = deque()  # of its tasks, in the order in which it does them
        self.verdict: _Verdict | None = None

    def position(self) -> int:
        """How many calls of its task at hand are done."""
        return int(self.worker.words[POSITION])

    def __repr__(self) -> str:
        return f"<Seat of {self.worker!r}: {len(self.numbers)} tasks>"


class Dispatcher:
    """Workers, their channels, and the thread that feeds them."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.workers = setup.workers
        self.lock = threading.RLock()
        self.places: Places = SharedPlaces()
        self.recent: deque[Chunks] = deque(maxlen=20)
        self.sent_bytes = 0
        self._log = Log.of(setup.workers)
        self._job_numbers = itertools.count()
        self._pid = os.getpid()
        self._home = home()
        self._jobs: deque[Job] = deque()
        self._running: dict[int, Task] = {}
        self._dropped: set[int] = set()  # tasks of futures that were cancelled while they ran
        self._numbers = itertools.count()
        self._effects: deque[Effect] = deque()
        self._losses: list[Lost] = []
        self._error: BaseException | None = None
        self._shut = WorkerLostError("the pool has ended")  # as its own error, after a regular end
        self._closing = False
        self._begin_s = time.perf_counter()
        self._gap_s = 0.0
        self._is_hungry = False  # what is written for the workers to see
        self._call_s = 1.0  # of calls by `submit`, of late; a guess is to be on the safe side
        self._helps = threading.Lock()
        self._helped = 0
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self.seats: list[Seat] = []
        fork_server.start()
        try:
            self._wire()
        except BaseException:
            self._dissolve()
            raise
        self._thread = threading.Thread(target=self._run, name="pardata-pool", daemon=True)
        self._thread.start()

    # -- building --------------------------------------------------------------------------------------------------

    def _wired(self, name: str, index: int, in_parent: bool) -> Wired:
        span = self._home.take_span()
        self._spans.append(span)
        return Wired(name, index, span, False, [0], in_parent)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket_pair()
        self._socks += pair
        return pair

    def _wire(self) -> None:
        setup, segment, arena = self.setup, self._home.segment, self._home.arena
        parent = self._wired("the main process", 0, True)
        wired = [self._wired("pool", index, False) for index in range(self.workers)]
        connect([parent], wired, 0, {}, _SLOTS)
        connect(wired, [parent], 0, {}, _SLOTS)
        self._socks += [sock for worker in (parent, *wired) for sock in worker.socks]
        program = TaskProgram(
            setup.name, self.workers, parent.span.offset, setup.initializer, setup.initargs, setup.most_tasks,
            setup.shared, setup.seed, logging.getLogger().level,
        )  # fmt: skip
        encoded = encode_program(program, "the pool's initializer, or what it shares,", program, HomeSink(self._home))
        live = arena.statistics()["live_bytes"]  # what was there before is not the pool's
        limit = (available_bytes() // 2 if setup.memory_limit is None else setup.memory_limit) + live
        spans = [(worker.span, "the pool's workers") for worker in wired] + [(arena.span, "the main process")]
        control, _ = self._pair()
        self._port = Port(parent.spec(limit, spans), segment, [control, *parent.socks], program, arena)
        self._wake, woken = self._pair()
        self._port.collector.watch(woken, lambda: _drain(woken))
        self._inner = self._port.collector.selector
        self._outer = _Nested(self._inner)
        self._supervisor = Supervisor(segment, self._port.collector, self._on_event, self._losses.append, 1)
        threads = max(1, usable_cores() // self.workers)
        for index, worker in enumerate(wired):
            control, child = self._pair()
            placed = PlacedSpec(self._home, worker.spec(limit, spans), encoded, threads)
            self._placed.append(placed)
            words = worker.span.words(segment)
            process = Worker("pool", placed.at, words, control, [child, *worker.socks], redoable=True)
            edge = Edge([self._port.outbox.edges[0].senders[index]])
            self.seats.append(Seat(index, process, Outbox(arena, self._port.outbox.leases, [edge], True)))
            self._supervisor.start(process)

    # -- the caller's side -----------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Give the pool a job, and a worker that is idle its first task.

        Raises RuntimeError after `close`, `WorkerLostError` if the pool broke.
        """
        with self.lock:
            if self._error is not None and self._error is not self._shut:
                raise WorkerLostError(f"the pool has ended: {self._error}") from self._error
            if self._closing:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._queue(job)
            self._dispatch()
        self._take_effect()
        if self.setup.timeout_s is not None:
            self.wake()

    def kick(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now, or none any more."""
        with self.lock:
            if self._error is None:
                self._queue(job)
                self._dispatch()
        self._take_effect()

    def wake(self) -> None:
        """Have the pool's thread look again."""
        with contextlib.suppress(OSError):  # full: it will look; closed: it has ended
            self._wake.send(b"!")

    def help(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do the pool's thread's work for a moment, while the caller waits for `is_there`; return what it says.

        Without this a caller is woken by the pool's thread, which is woken by the worker.
        """
        if self._gap_s > 2 * _HELP_S or os.getpid() != self._pid:
            self._gap_s *= 0.8  # the calls of late took longer than this: try again some time
            return False
        if not self._outer.can_pause or not self._helps.acquire(blocking=False):
            return False
        end = time.perf_counter() + (_HELP_S if timeout_s is None else min(timeout_s, _HELP_S))
        try:
            self._outer.pause()
            self._helped += 1
            if self._helped % _FLUSH_EVERY == 0:
                with self.lock:
                    if not self._is_over:
                        self._port.collector.flush()
            while not is_there() and time.perf_counter() < end:
                with self.lock:
                    events = [] if self._is_over else self._inner.select(0)
                    if events:
                        self._handle(events)
                if events:
                    self._take_effect()
                else:
                    os.sched_yield()
        finally:
            self._outer.resume()
            self._helps.release()
            if self.setup.timeout_s is not None or self._condemned:
                self.wake()  # what was meant for the pool's thread may have been read here: it has times to look after
        found = is_there()
        self._gap_s = 0.0 if found else self._gap_s + _HELP_S
        return found

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that a worker has. Return False if it is done."""
        with self.lock:
            task = next((task for task in self._running.values() if task.job is job), None)
            if job.future.done():
                return False
            if task is not None:
                self._dropped.add(task.number)
                self._end_dropped(task.seat)
            self._effects.append(job.cancel_running())
        self._take_effect()
        self.wake()
        return True

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""
        if os.getpid() != self._pid:
            return  # a forked child has a copy of the handle; the pool is its parent's
        with self.lock:
            self._closing = True
            if kill and self._error is None:
                self._error = WorkerLostError("the pool was ended before its work was done")
        self.wake()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def waiting_jobs(self) -> list[Job]:
        """Return the jobs that still have tasks to hand out."""
        with self.lock:
            return list(self._jobs)

    def abandon(self) -> None:
        """End when everything is done: nobody holds the pool. This may be called by the garbage collector."""
        if os.getpid() == self._pid:
            self._closing = True
            self.wake()

    @property
    def is_open(self) -> bool:
        """Whether `add` is allowed."""
        return not self._closing and self._error is None

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done."""
        return bool(self._jobs or self._running)

    def encode(self, fn: Any, what: str) -> Code:
        """Return the encoded function."""
        return Code(fn, what)

    def next_number(self) -> int:
        """Return the number of the next job."""
        return next(self._job_numbers)

    def statistics(self) -> dict[str, Any]:
        """Return what each worker did, and the longest calls."""
        with self.lock:
            told = self._log.statistics(time.perf_counter() - self._begin_s)
            for seat, entry in zip(self.seats, told["workers"], strict=True):
                entry["processes"] = seat.worker.restarts + 1
            return {**told, "sent_bytes": self.sent_bytes}

    # -- the pool's thread -----------------------------------------------------------------------------------------

    @property
    def _is_over(self) -> bool:
        return self._error is not None or (self._closing and not self._jobs and not self._running)

    def _run(self) -> None:
        try:
            while not self._is_over:
                self._outer.wait(self._patience())
                with self.lock:
                    self._handle(self._inner.select(0))
                    if not self._port.collector.flush():
                        self.wake()
                self._take_effect()
        except BaseException as error:
            self._error = error
        finally:
            self._end()

    def _handle(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Take in what has happened, and hand out what follows."""
        for key, _ in events:
            key.data()
        while self._collect():
            pass
        while self._losses:
            self._lose(self._losses.pop())
        if self.setup.timeout_s is not None:
            self._end_late(self.setup.timeout_s)
        for seat in self._condemned:
            self._kill(seat)
        self._dispatch()

    @property
    def _condemned(self) -> list[Seat]:
        return [seat for seat in self.seats if seat.verdict is not None]

    def _take_effect(self) -> None:
        """Call what the user may notice: callbacks of futures. Without the lock."""
        while self._effects:
            with contextlib.suppress(IndexError):
                self._effects.popleft()()

    def _note(self, effect: Effect | None) -> None:
        if effect is not None:
            self._effects.append(effect)

    def _queue(self, job: Job) -> None:
        if not job.queued and not job.exhausted:
            job.queued = True
            self._jobs.append(job)

    # -- handing out -------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Send tasks, of the jobs in turn: to idle workers, then ahead."""
        if self._error is not None:
            return
        while self._jobs and self._jobs[0].exhausted:  # cancelled
            self._jobs.popleft().queued = False
        for load in range(_MOST_TASKS):
            for seat in self.seats:
                if not self._jobs:
                    break
                if len(seat.numbers) == load:
                    task = self._next_task(ahead=load > 0)
                    if task is None:
                        break
                    self._send(seat, task)
        is_hungry = not self._jobs and bool(self._running) and not all([seat.numbers for seat in self.seats])
        if is_hungry != self._is_hungry:
            self._port.words[HUNGRY] = self._is_hungry = is_hungry

    def _next_task(self, ahead: bool) -> Task | None:
        for _ in range(len(self._jobs)):
            job = self._jobs[0]
            if ahead and type(job) is CallJob and self._call_s > AHEAD_S:
                return None
            task = job.next_task(ahead)
            if job.exhausted:
                self._jobs.popleft()
                job.queued = False
            else:
                self._jobs.rotate(-1)
            if task is not None:
                return task
        return None

    def _send(self, seat: Seat, task: Task) -> None:
        task.number, task.seat = next(self._numbers), seat
        try:
            message = task.job.message(task)
            if message[0] == CALL:
                message = squeeze(message, *message[3], *message[4].values())
            seat.outbox.publish(Batch(0, task.number, 1, 0, [message]))
        except Exception as error:  # an argument cannot be pickled, or there is no memory for it
            self._note(task.job.fail(task, error))
            self._queue(task.job)
            return
        self.sent_bytes += seat.outbox.sent_bytes
        seat.outbox.sent_bytes = 0
        self._running[task.number] = task
        seat.numbers.append(task.number)
        task.position = seat.position if len(seat.numbers) == 1 else int

    # -- taking in ---------------------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take in an outcome. Return whether there was one."""
        claims = self._port.collector.next()
        if claims is None:
            return False
        claim = claims[0]
        number = claim.number
        try:
            outcome = Outcome(*unpack(claim.receiver.read(claim).items.pop()))
        except Exception as failure:  # the result cannot be unpickled
            outcome = Outcome(1, None, Fault.of(failure, "pool", item="its result cannot be loaded here"), 0.0)
        claim.receiver.commit(claim)
        task = self._leave(number)
        if task is None or number in self._dropped:
            self._dropped.discard(number)
            return True
        seat = task.seat
        name = type(task.job).__name__
        longest_s, index = outcome.longest
        self._log.add(seat.index, outcome.seconds, longest_s, lambda: f"item {task.begin + index} of {name}")
        if type(task.job) is CallJob:
            self._call_s += 0.25 * (outcome.seconds - self._call_s)
        self._note(task.job.finish(task, outcome))
        self._queue(task.job)
        self._end_dropped(seat)
        return True

    def _leave(self, number: int) -> Task | None:
        """Take a task from its worker."""
        task = self._running.pop(number, None)
        if task is not None:
            task.seat.numbers.remove(number)
            if task.seat.numbers:
                following = self._running[task.seat.numbers[0]]
                following.position = task.seat.position
        return task

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "failed" and self._error is None:  # the worker's own loop, not a task
            fault: Fault = event[1]
            worker.done = True
            self._error = WorkerLostError(f"a worker of the pool could not go on: {fault.error}, {fault.note}")
            self._error.__cause__ = fault.exception()
        else:
            seat = next(seat for seat in self.seats if seat.worker is worker)
            show(f"{self.setup.name} {seat.index}", event)

    # -- ends of workers ---------------------------------------------------------------------------------------------

    def _lose(self, lost: Lost) -> None:
        """Decide what becomes of the task that a worker died of; start the next worker."""
        seat = next(seat for seat in self.seats if seat.worker is lost.worker)
        if lost.batch is None:
            how = describe_exit(None if lost.worker.process is None else lost.worker.process.status)
            self._error = WorkerLostError(
                f"the pool: {lost.deaths} worker processes in a row were lost while they were starting, the last one "
                f"{how}. Does an initializer, or a module that it needs, end the process?"
            )
            return
        number = lost.batch[1]
        words = lost.worker.words
        verdict, seat.verdict = seat.verdict, None
        task = self._running.get(number)
        if task is not None:
            begin = task.begin + int(words[POSITION])
            end = min(task.end, begin + max(1, int(words[STRIDE])))
            is_meant = verdict is not None and (verdict.number, verdict.position) == (number, int(words[POSITION]))
            seat.outbox.edges[0].senders[0].abandon(number)
            self._leave(number)
            self._blame(task, seat, verdict if is_meant else None, verdict is not None, begin, end)
        words[POSITION] = words[STRIDE] = words[STARTED_NS] = 0  # its owner is dead
        self._supervisor.restart(lost.worker)

    def _blame(self, task: Task, seat: Seat, verdict: _Verdict | None, innocent: bool, begin: int, end: int) -> None:
        job = task.job
        if task.number in self._dropped:
            self._dropped.discard(task.number)
        elif verdict is not None and verdict.is_late:
            self._note(job.overdue(task, begin, end, self.setup.timeout_s or 0.0))
        elif innocent:  # it was about to be ended for the task before
            job.again(task)
        else:
            self._log.workers[seat.index]["deaths"] += 1
            process = seat.worker.process
            status = None if process is None else process.status
            self._note(job.lost(task, Death(begin, end, status, None if process is None else process.peak_bytes)))
        self._queue(job)

    def _end_dropped(self, seat: Seat) -> None:
        """End a worker whose task at hand is not wanted any more."""
        if seat.numbers and seat.numbers[0] in self._dropped and seat.verdict is None:
            seat.verdict = _Verdict(seat.numbers[0], 0, False)
            self._kill(seat)

    def _end_late(self, timeout_s: float) -> None:
        now = time.perf_counter_ns()
        for seat in self.seats:
            started, position = seat.worker.words[STARTED_NS], seat.position()
            if not started or not seat.numbers or seat.verdict is not None or now - started < timeout_s * 1e9:
                continue
            if _number_at_work(seat.worker) == seat.numbers[0] and seat.worker.words[STARTED_NS] == started:
                seat.verdict = _Verdict(seat.numbers[0], position, True)

    def _kill(self, seat: Seat) -> None:
        """End the worker, if it still does what it is to be ended for."""
        process, verdict = seat.worker.process, seat.verdict
        if process is None or verdict is None:
            return
        if not seat.numbers or seat.numbers[0] != verdict.number:
            seat.verdict = None  # it has come to its end by itself
        elif not process.ended and _number_at_work(seat.worker) == verdict.number:  # else it has not begun: later
            process.signal(signal.SIGKILL)

    def _patience(self) -> float | None:
        """Seconds until something has to be looked after that nobody tells."""
        if self._condemned:
            return _PATIENCE_S
        if self.setup.timeout_s is None or not self._running:
            return None
        now, timeout_ns = time.perf_counter_ns(), int(self.setup.timeout_s * 1e9)
        rest = timeout_ns // 2  # for a worker that has not begun yet
        for seat in self.seats:
            started = seat.worker.words[STARTED_NS]
            if seat.numbers and started:
                rest = min(rest, started + timeout_ns - now)
        return max(0.0, rest / 1e9)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        with self.lock:
            self._closing = True
        try:
            self._supervisor.stop()
        finally:
            with self.lock:
                error = self._error = self._error or self._shut
                for task in list(self._running.values()):
                    if task.number not in self._dropped:
                        self._note(task.job.fail(None, error))
                while self._jobs:
                    self._note(self._jobs.popleft().fail(None, error))
                self._running.clear()
                self._dissolve()
            self._take_effect()

    def _dissolve(self) -> None:
        self._placed.clear()
        if hasattr(self, "_outer"):
            self._outer.close()
        ports = [self._port] if hasattr(self, "_port") else []
        dissolve(self._home, ports, self._spans, self._socks)


class _Nested:
    """A selector for the selector: who helps can have the pool's thread sleep on, for one system call."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self._fd: int = inner.fileno()  # type: ignore[attr-defined]
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._lock = threading.Lock()
        if self._epoll is not None:
            self._epoll.register(self._fd, select.EPOLLIN)
        self._inner = inner

    @property
    def can_pause(self) -> bool:
        return self._epoll is not None

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until the inner selector has something."""
        if self._epoll is not None:
            self._epoll.poll(timeout_s)
        else:
            self._inner.select(timeout_s)

    def pause(self) -> None:
        """From now on nothing wakes who waits."""
        with self._lock:
            if self._epoll is not None and not self._epoll.closed:
                self._epoll.modify(self._fd, 0)

    def resume(self) -> None:
        """From now on everything does, also what has come meanwhile."""
        with self._lock:
            if self._epoll is not None and not self._epoll.closed:
                self._epoll.modify(self._fd, select.EPOLLIN)

    def close(self) -> None:
        with self._lock:
            if self._epoll is not None:
                self._epoll.close()


def _number_at_work(worker: Worker) -> int | None:
    """Return the number of the task that a worker works on."""
    batch = running_batch(max(0, worker.words[ATTEMPT]))  # negative while it is starting
    return None if batch is None else batch[1]


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(64):
            pass
