"""The parent's side of its workers: start, hear, replace, end.

      control socket readable -> on_event        sentinel readable -> process ended -> replaced, or on_lost
      both are registered with the one selector that the parent waits on; nothing here polls

A worker is replaced with the same span, sockets and program: its successor finds in the span how far it had got.
"""

from __future__ import annotations

import contextlib
import pickle
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pardata.channel.collector import Collector
from pardata.memory.segment import Segment
from pardata.runtime.exits import describe_exit
from pardata.runtime.process import Process
from pardata.runtime.words import ATTEMPT, BEGUN_NS, LOADING, running_batch

DEATHS_PER_ITEM: Final = 3
DEATHS_AT_START: Final = 10  # in a row
COOPERATIVE_S: Final = 0.5  # how long a worker may take to come back from the user's function when it is cancelled
TERMINATE_S: Final = 1.0
_SOON_S: Final = 0.001  # before this the time is not looked at again


class Limits(NamedTuple):
    """What an item may take: seconds at one go, and how often it is begun again when they are over."""

    timeout_s: float | None = None
    retries: int = 0


def _no_limits(batch: tuple[int, int]) -> Limits:
    return Limits()


class Worker:
    """A worker process of the parent, over all its lives.

    Attributes
    ----------
    shortest_s : float, optional
        The shortest time limit of an item that it may begin; None: none has one.
    limits_of : callable
        The limits of an item: (domain, number).
    """

    def __init__(
        self,
        stage: str,
        spec_at: tuple[int, int],
        words: memoryview,
        control: socket.socket,
        child_socks: list[socket.socket],
        redoable: bool,
    ) -> None:
        self.stage = stage
        self.spec_at = spec_at
        self.words = words
        self.control = control
        self.child_socks = child_socks
        self.redoable = redoable
        self.process: Process | None = None
        self.closed = False  # nothing more will come out of it
        self.done = False
        self.leaving = False  # it has said that it makes room for a fresh process
        self.restarts = 0
        self.deaths: Counter[tuple[int, int] | None] = Counter()
        self.deaths_at_start = 0
        self.shortest_s: float | None = None
        self.limits_of: Callable[[tuple[int, int]], Limits] = _no_limits
        self.late: int | None = None  # what it was killed for: its word ATTEMPT
        self.times_late: Counter[tuple[int, int]] = Counter()

    @property
    def late_in_s(self) -> float:
        """Seconds until it may be late with its item, or with the next one; not positive: it is late."""
        assert self.shortest_s is not None
        doing = self.words[ATTEMPT]
        batch = None if doing == LOADING else running_batch(doing)
        if batch is None or doing == self.late:
            return self.shortest_s
        timeout_s = self.limits_of(batch).timeout_s
        if timeout_s is None:
            return self.shortest_s
        return timeout_s - (time.monotonic_ns() - self.words[BEGUN_NS]) / 1e9

    def __repr__(self) -> str:
        return f"<Worker of {self.stage!r}: {self.process!r}, {self.restarts} restarts>"


class Lost:
    """A worker that will not be replaced as things are: which, working on what, and why in words."""

    def __init__(
        self,
        worker: Worker,
        batch: tuple[int, int] | None,
        deaths: int,
        status: int | None,
        peak_bytes: int | None = None,
        timeout_s: float = 0.0,
        spent: int | None = None,
    ) -> None:
        self.worker = worker
        self.batch = batch
        self.deaths = deaths
        self.status = status
        self.how = describe_exit(status)
        self.peak_bytes = peak_bytes
        self.spent = spent  # so many workers of the run have been replaced, and no more may be
        self.timeout_s = timeout_s  # not 0: it was killed because it took longer than that

    @property
    def what(self) -> str:
        """What the worker was doing."""
        return "they were starting" if self.batch is None else f"they worked on item {self.batch[1]}"

    def message(self, who: str, what: str) -> str:
        """Return what happened, the likely cause, and what to do."""
        if self.spent is not None:
            return f"{who}: a worker process was {self.how}, and max_restarts={self.spent} of the run have been used up"
        if not self.worker.redoable:
            return f"{who}: its process was {self.how}; the state of its generator is lost, so it cannot be replaced"
        return (
            f"{who}: {self.deaths} worker processes were lost while {what}, the last one {self.how}. Either this makes "
            f"the function crash or exit, or it needs more memory than there is"
        )


class Supervisor:
    """start / stop, and the handlers that a `Collector` calls."""

    def __init__(
        self,
        segment: Segment,
        collector: Collector,
        on_event: Callable[[Worker, tuple[Any, ...]], None],
        on_lost: Callable[[Lost], None],
        deaths_per_item: int = DEATHS_PER_ITEM,
    ) -> None:
        self.workers: list[Worker] = []
        self._deaths_per_item = deaths_per_item  # a pool looks at each death of a task itself
        self._segment = segment
        self._collector = collector
        self._on_event = on_event
        self._on_lost = on_lost
        self._stopping = False
        self.max_restarts: int | None = None  # of all workers together

    def start(self, worker: Worker) -> None:
        """Start a worker, or its successor."""
        if worker not in self.workers:
            self.workers.append(worker)
            self._collector.watch(worker.control, lambda: self._hear(worker))
        fds = [self._segment.fd, *(sock.fileno() for sock in worker.child_socks)]
        worker.words[ATTEMPT], worker.words[BEGUN_NS] = LOADING, time.monotonic_ns()
        worker.process = Process(*worker.spec_at, fds)
        self._collector.watch(worker.process.sentinel, lambda: self._watch(worker))

    def listen(self) -> None:
        """Take in all that workers have said until now: what came over their channels may have been faster."""
        for worker in self.workers:
            self._hear(worker)

    def _hear(self, worker: Worker) -> None:
        while True:
            try:
                data = worker.control.recv(1 << 18)
            except BlockingIOError:
                return
            if not data:
                return
            event = pickle.loads(data)
            if event[0] in ("closed", "done"):
                worker.closed = True
                worker.done = event[0] == "done"
            worker.leaving = event[0] == "leaving"
            self._on_event(worker, event)

    def _watch(self, worker: Worker) -> None:
        process = worker.process
        assert process is not None
        sentinel = process.sentinel
        if not process.receive():
            return
        self._collector.selector.unregister(sentinel)
        self._hear(worker)  # what it said before it ended
        if worker.done or self._stopping:
            return
        if worker.leaving:
            worker.leaving = False
            self.start(worker)
            return
        doing = worker.words[ATTEMPT]
        if worker.late is not None:
            self._replace_late(worker, running_batch(doing) if doing == worker.late else None)
            return
        if doing == 0 and process.status is not None and process.status >= 0:
            doing = LOADING  # nobody killed it, and it has not said why it left
        if doing == 0 and worker.redoable:  # it was waiting: nothing is to blame
            worker.deaths_at_start = 0
            self.restart(worker)
            return
        if doing == LOADING:
            worker.deaths_at_start += 1
            batch, deaths, limit = None, worker.deaths_at_start, DEATHS_AT_START
        else:
            worker.deaths_at_start = 0
            batch = running_batch(doing)
            worker.deaths[batch] += 1
            deaths, limit = worker.deaths[batch], self._deaths_per_item
        lost = Lost(worker, batch, deaths, process.status, process.peak_bytes)
        if deaths < limit and (worker.redoable or doing == LOADING):
            self.restart(worker)
        else:
            self._on_lost(lost)

    def _replace_late(self, worker: Worker, batch: tuple[int, int] | None) -> None:
        """Replace a worker that was killed because it was late with `batch`; None: it had just got over it."""
        assert worker.process is not None
        worker.late = None
        if batch is None:
            self.restart(worker)
            return
        limits = worker.limits_of(batch)
        worker.times_late[batch] += 1
        times = worker.times_late[batch]
        if times <= limits.retries:
            self.restart(worker)
        else:
            peak_bytes = worker.process.peak_bytes
            self._on_lost(Lost(worker, batch, times, worker.process.status, peak_bytes, limits.timeout_s or 0.0))

    def enforce(self) -> float | None:
        """Kill workers that are late; return in how many seconds that is to be looked at again, None: never."""
        due_s = None
        for worker in self.workers:
            if worker.shortest_s is None or worker.process is None or worker.done:
                continue
            left_s = worker.late_in_s
            if left_s <= 0 and worker.process.pid is not None:
                worker.late = worker.words[ATTEMPT]
                worker.process.signal(signal.SIGKILL)
                continue  # its end is an event
            due_s = max(left_s, _SOON_S) if due_s is None else max(min(due_s, left_s), _SOON_S)
        return due_s

    def restart(self, worker: Worker) -> None:
        """Start the successor of a worker that has ended."""
        assert worker.process is not None
        if self.max_restarts is not None and sum(each.restarts for each in self.workers) >= self.max_restarts:
            status, peak_bytes = worker.process.status, worker.process.peak_bytes
            self._on_lost(Lost(worker, None, 1, status, peak_bytes, spent=self.max_restarts))
            return
        worker.restarts += 1
        self.start(worker)

    @property
    def alive(self) -> list[Worker]:
        """Workers whose process has not ended."""
        return [worker for worker in self.workers if worker.process is not None and not worker.process.ended]

    def stop(self) -> None:
        """End every worker: ask, then SIGTERM, then SIGKILL. Returns when all are gone, also on Ctrl-C."""
        self._stopping = True
        try:
            for worker in self.alive:
                with contextlib.suppress(OSError):
                    worker.control.send(b"cancel")
            self._wait(COOPERATIVE_S)
            self._signal(signal.SIGTERM)
            self._wait(TERMINATE_S)
        finally:
            self._signal(signal.SIGKILL)
            self._wait(None)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self.alive:
            assert worker.process is not None
            worker.process.signal(number)

    def _wait(self, timeout_s: float | None) -> None:
        """Wait until every process has ended, or until the time is over; without one, kill those that come up late."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            sentinels = {
                worker.process.sentinel.fileno(): worker.process for worker in self.alive if worker.process is not None
            }
            if not sentinels:
                return
            poll = select.poll()
            for fd in sentinels:
                poll.register(fd, select.POLLIN)
            rest_s = None if deadline is None else deadline - time.monotonic()
            if rest_s is not None and rest_s <= 0:
                return
            for fd, _ in poll.poll(None if rest_s is None else rest_s * 1000):
                process = sentinels[fd]
                with contextlib.suppress(KeyError, ValueError):
                    if process.ended:
                        continue
                    process.receive()
                if deadline is None:
                    process.signal(signal.SIGKILL)  # its pid may have become known only now
