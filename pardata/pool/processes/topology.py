"""A pool's processes and what connects them: the parent in the middle, a channel to each worker and one from each."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pardata.channel.channel import socket_pair
from pardata.channel.outbox import Edge, Outbox
from pardata.codec.batch_codec import Encoded
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.shared_heap import SharedHeap, shared_heap
from pardata.pool.backend import Setup
from pardata.pool.processes.assignments import WorkerSlot
from pardata.pool.processes.waiting import Waiting
from pardata.pool.worker.loop import TaskProgram
from pardata.process.capacity import explained
from pardata.process.launcher import fork_server
from pardata.runtime.library_limits import usable_cores
from pardata.runtime.supervisor import Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, WorkerImage, connect, count_control, dissolve, encode_program
from pardata.runtime.worker.port import Port

MOST_TASKS: Final = 2  # with a worker: one at work, one ahead
_MOST_OWED: Final = (4, 4)  # commits that a worker tells together
_SLOTS: Final = 8  # those, and up to four that are done and of which the worker has not told yet


def encode_setup(setup: Setup) -> tuple[TaskProgram, Encoded]:
    """Return what every worker runs, and the same encoded. Raises `ConfigError` if it cannot be pickled."""
    program = TaskProgram(
        setup.name, setup.workers, setup.initializer, setup.initargs, setup.finalizer, setup.finalargs,
        setup.most_tasks, setup.shared, setup.seed, logging.getLogger().level,
    )  # fmt: skip
    what = "the pool's initializer or finalizer, or what it shares,"
    return program, encode_program(program, what, program, HomeSink(shared_heap()))


class Topology:
    """Makes it all and starts the workers; `close` takes everything back.

    To be made where no signal's handler breaks in: what has been made and is not noted yet would be lost.

    Parameters
    ----------
    program : TaskProgram and its encoded form
    on_event : callable
        Called with a worker and what it has said.
    on_lost : callable
        Called with each death of a worker that had begun something.
    """

    def __init__(
        self,
        setup: Setup,
        program: tuple[TaskProgram, Encoded],
        on_event: Callable[[Worker, tuple[Any, ...]], None],
        on_lost: Callable[[Lost], None],
    ) -> None:
        self._program, self._encoded = program
        self.seats: list[WorkerSlot] = []
        self._heap: SharedHeap = shared_heap()
        self._undo = contextlib.ExitStack()
        self._ports: list[Port] = []
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self._undo.callback(self._dissolve)
        fork_server.start()
        try:
            with explained(f"a pool of {setup.workers} workers", 8 * setup.workers + 6):
                self._connect(setup)
            self.supervisor = Supervisor(self._heap.segment, self.port.collector, on_event, on_lost, 1)
            self._undo.callback(self.supervisor.stop)
            with explained(f"a pool of {setup.workers} workers", 8 * setup.workers + 6):
                self._start(setup)
        except BaseException:
            self.close()
            raise

    def _wired(self, name: str, index: int, in_parent: bool) -> WorkerImage:
        span = self._heap.take_span()
        self._spans.append(span)
        return WorkerImage(name, index, span, _MOST_OWED, [0], in_parent)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket_pair()
        self._socks += pair
        return pair

    def _connect(self, setup: Setup) -> None:
        """Make the channels and the parent's port."""
        arena = self._heap.arena
        parent = self._wired("the main process", 0, True)
        wired = [self._wired("pool", index, False) for index in range(setup.workers)]
        connect([parent], wired, 0, {}, _SLOTS)
        connect(wired, [parent], 0, {}, _SLOTS)
        self._socks += [sock for worker in (parent, *wired) for sock in worker.socks]
        self._limit = available_bytes() // 2 if setup.memory_limit is None else setup.memory_limit
        self._budget = [(worker.span, "the pool's workers") for worker in wired]
        self._budget.append((parent.span, parent.stage))
        count_control(self._heap.segment, [parent, *wired], self._limit)
        self._workers = wired
        self._parent_at = parent.span.offset
        control, _ = self._pair()
        spec = parent.spec(self._limit, self._budget)
        self.port = Port(spec, self._heap.segment, [control, *parent.socks], self._program, arena)
        self._ports.append(self.port)
        self._wake, woken = self._pair()
        self.port.collector.watch(woken, lambda: _drain(woken))
        self.waiting = Waiting(self.port.collector.selector)
        self._undo.callback(self.waiting.close)

    def _start(self, setup: Setup) -> None:
        """Start the workers."""
        segment, outbox = self._heap.segment, self.port.outbox
        threads = max(1, usable_cores() // setup.workers)
        for index, worker in enumerate(self._workers):
            control, child = self._pair()
            spec = replace(worker.spec(self._limit, self._budget), parent_at=self._parent_at)
            placed = PlacedSpec(self._heap, spec, self._encoded, threads)
            self._placed.append(placed)
            words = worker.span.words(segment)
            process = Worker("pool", placed.at, words, control, [child, *worker.socks], redoable=True)
            edge = Edge([outbox.edges[0].senders[index]])
            own = Outbox(self._heap.arena, outbox.leases, [edge], True)
            own.is_lasting = True
            self.seats.append(WorkerSlot(index, process, own))
            self.supervisor.start(process)

    def seat_of(self, worker: Worker) -> WorkerSlot:
        """Return the seat of a worker."""
        return next(seat for seat in self.seats if seat.worker is worker)

    def wake(self) -> None:
        """Wake who waits. Takes no lock."""
        with contextlib.suppress(OSError):  # full: it will wake up; closed: it has ended
            self._wake.send(b"!")

    def close(self) -> None:
        """End the processes that are not gone; take back memory and sockets."""
        self._undo.close()

    def _dissolve(self) -> None:
        self._placed.clear()
        dissolve(self._heap, self._ports, self._spans, self._socks)


def _drain(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while sock.recv(64):
            pass
