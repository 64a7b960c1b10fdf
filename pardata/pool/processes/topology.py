"""A pool's processes and their channels: the parent in the middle, a channel to each worker and one from each."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from pardata.channel.channel import CAN_ELIDE_WAKEUPS, socket_pair
from pardata.channel.outbox import EdgeSenders, Outbox
from pardata.codec.access import Access
from pardata.codec.object_codec import Encoded
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.shared_heap import SharedHeap, shared_heap
from pardata.pool.configuration import Setup
from pardata.pool.lifecycle import PoolLife
from pardata.pool.processes.assignments import WorkerSlot
from pardata.pool.processes.waiting import Waiting
from pardata.process.capacity import check_descriptors, explained
from pardata.process.launcher import fork_server
from pardata.runtime.events import Spoken, WorkerEvent
from pardata.runtime.output.console import Console
from pardata.runtime.recording.record import CHUNKS_BYTES, WorkerNotes
from pardata.runtime.recording.recorder import MOST_RECORD_BYTES, read, record_sizes
from pardata.runtime.stopping import POOL_CALLS_S
from pardata.runtime.supervisor import Lost, Supervisor, Worker, deaths_of
from pardata.runtime.watching.plates import POOL, hang_plates
from pardata.runtime.wiring import PlacedSpec, WorkerImage, connect, count_control, dissolve, surroundings_of_parent
from pardata.runtime.worker.port import Program, WorkerPort
from pardata.runtime.worker.spec import BudgetSpec, WorkerSpec

_MOST_OWED: Final = (4, 4)  # commits that a worker tells together
_SLOTS: Final = 8  # a worker's two tasks, and up to four that are done and of which the worker has not told yet


class Topology:
    """Makes the channels and starts the workers; `close` takes everything back.

    Made in a thread where no signal handler runs: an interrupt would lose a resource that is made and not noted yet.

    Parameters
    ----------
    program : the program of every worker, and the same encoded
    life : PoolLife
        A pool that is not wanted any more gets no further workers.
    on_event : callable
        Called with a worker and each of its events.
    on_lost : callable
        Called with each death of a worker that had begun something.
    on_output : callable, optional
        See `Console`.
    """

    def __init__(
        self,
        setup: Setup,
        program: tuple[Program, Encoded],
        life: PoolLife,
        on_event: Callable[[Worker, WorkerEvent], None],
        on_lost: Callable[[Lost], None],
        on_output: Callable[[Spoken], object] | None,
    ) -> None:
        self._program, self._encoded = program
        self.slots: list[WorkerSlot] = []
        self._heap: SharedHeap = shared_heap()
        self._undo = contextlib.ExitStack()
        self._ports: list[WorkerPort] = []
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self._undo.callback(self._dissolve)
        fork_server.start()
        self._name = setup.name
        what, descriptors = f"a pool of {setup.workers} workers", 8 * setup.workers + 9  # one of them for a moment
        try:
            check_descriptors(what, descriptors)
            with explained(what, descriptors):
                self.console = Console(self._heap, on_output)
                self._undo.callback(self.console.close)
                images = self._connect(setup)
            self.supervisor = Supervisor(self._heap.segment, self.port.collector, on_event, on_lost, 1)
            self._undo.callback(self.supervisor.stop, POOL_CALLS_S)
            with explained(what, descriptors):
                self._start(setup, life, images)
        except BaseException:
            self.close()
            raise

    def _image(self, name: str, index: int, in_parent: bool) -> WorkerImage:
        span = self._heap.take_span()
        self._spans.append(span)
        return WorkerImage(name, index, span, _MOST_OWED, [0], in_parent, Access.RESULT)

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket_pair()
        self._socks += pair
        return pair

    def _connect(self, setup: Setup) -> list[tuple[WorkerImage, WorkerSpec]]:
        """Make the channels and the parent's port. Return the workers."""
        arena = self._heap.arena
        parent = self._image("the main process", 0, True)
        images = [self._image("pool", index, False) for index in range(setup.workers)]
        if setup.record:
            (nbytes,) = record_sizes([setup.workers], MOST_RECORD_BYTES - CHUNKS_BYTES)
            for worker in images:
                worker.record_in(nbytes)
        connect([parent], images, 0, {}, _SLOTS, elides_wakeups=CAN_ELIDE_WAKEUPS)
        connect(images, [parent], 0, {}, _SLOTS, elides_wakeups=CAN_ELIDE_WAKEUPS)
        self._socks += [sock for worker in (parent, *images) for sock in worker.socks.all()]
        limit = available_bytes() // 2 if setup.memory_limit is None else int(setup.memory_limit)
        spans = [(worker.span, "the pool's workers") for worker in images]
        budget = BudgetSpec(limit, [*spans, (parent.span, parent.stage)])
        count_control(self._heap.segment, [parent, *images], limit)
        hang_plates(self._heap.segment, parent, POOL, setup.name, limit, [images])
        control, _ = self._pair()
        spec = parent.spec(budget)
        self.port = WorkerPort(spec, self._heap.segment, [control, *parent.socks.all()], self._program, arena)
        self._ports.append(self.port)
        self._wake, woken = self._pair()
        self.port.collector.watch(woken, lambda: _drain(woken))
        self.waiting = Waiting(self.port.collector.selector)
        self._undo.callback(self.waiting.close)
        return [(worker, worker.spec(budget, parent_at=parent.span.offset)) for worker in images]

    def _start(self, setup: Setup, life: PoolLife, images: list[tuple[WorkerImage, WorkerSpec]]) -> None:
        """Start the workers, as long as they are wanted."""
        segment, outbox = self._heap.segment, self.port.outbox
        surroundings = surroundings_of_parent(setup.cores)
        for index, (worker, spec) in enumerate(images):
            if not life.is_wanted:
                return
            control, child = self._pair()
            placed = PlacedSpec(self._heap, spec, self._encoded, self.console.spec(self.tag(index)), surroundings)
            self._placed.append(placed)
            words = worker.span.words(segment)
            socks = [child, *worker.socks.all(), self.console.sock]
            process = Worker("pool", placed.at, words, control, socks, redoable=True)
            edge = EdgeSenders([outbox.edges[0].senders[index]])
            # Each worker has an outbox, as the scheduler chooses the worker. All give leases of one table: a span has
            # one.
            own = Outbox(self._heap.arena, outbox.leases, [edge], True, Access.RESULT)  # of what was copied
            own.is_lasting, own.placer.makes_native = True, setup.native
            self.slots.append(WorkerSlot(index, process, own, spec.areas.record))
            self.supervisor.start(process)

    def tag(self, index: int) -> str:
        """Return the name of a worker, before its lines."""
        return f"{self._name} {index}"

    def noted(self) -> WorkerNotes:
        """Return what the workers have recorded until now."""
        memory = memoryview(self._heap.segment.map)
        places = [slot.record for slot in self.slots if slot.record is not None]
        recorded = [read(memory[at : at + nbytes]) for at, nbytes in places]
        deaths = deaths_of([slot.worker for slot in self.slots])
        return WorkerNotes(recorded, deaths, self.port.memory.budget.limit_bytes)

    def slot_of(self, worker: Worker) -> WorkerSlot:
        """Return the slot of a worker."""
        return next(slot for slot in self.slots if slot.worker is worker)

    def wake(self) -> None:
        """Wake the pool's thread. Takes no lock."""
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
