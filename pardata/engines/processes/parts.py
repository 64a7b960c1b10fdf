"""Everything that a run on processes has reserved or started, noted as soon as it is there."""

from __future__ import annotations

import socket

from pardata.channel.channel import socket_pair
from pardata.engines.processes.local_worker import LocalWorker
from pardata.memory.arena import Span
from pardata.memory.shared_heap import SharedHeap
from pardata.runtime.output.console import Console
from pardata.runtime.supervisor import Supervisor, Worker
from pardata.runtime.wiring import PlacedSpec
from pardata.runtime.worker.port import WorkerPort


class Parts:
    """The parts of one run: `build` adds them, `teardown` takes back those that are there.

    A build may fail half-way, so a part is noted when it is made and not when all are.

    Attributes
    ----------
    spans, socks : list
        Memory and sockets of all workers, the consumer included.
    processes : dict
        The workers that are processes, each with its span.
    placed : list
        The specifications that the processes read at their start; they lie in this process's arena.
    threads : list
        The workers that are threads of this process.
    port : WorkerPort, optional
        The caller's own: it takes the run's output and waits for the workers. Without a consumer it takes nothing.
    wake : socket, optional
        The far end of the port's control socket: "cancel" makes a thread leave that waits in the port.
    supervisor : Supervisor, optional
        It starts, watches and replaces the processes.
    console : Console, optional
        It shows what they print, warn of and log.
    """

    def __init__(self, heap: SharedHeap) -> None:
        self.heap = heap
        self.spans: list[Span] = []
        self.socks: list[socket.socket] = []
        self.processes: dict[Worker, Span] = {}
        self.placed: list[PlacedSpec] = []
        self.threads: list[LocalWorker] = []
        self.port: WorkerPort | None = None
        self.wake: socket.socket | None = None
        self.supervisor: Supervisor | None = None
        self.console: Console | None = None

    def take_span(self) -> Span:
        """Return memory for one worker."""
        span = self.heap.take_span()
        self.spans.append(span)
        return span

    def socket_pair(self) -> tuple[socket.socket, socket.socket]:
        """Return the two ends of a control socket."""
        pair = socket_pair()
        self.socks += pair
        return pair
