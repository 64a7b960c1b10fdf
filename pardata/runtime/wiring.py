"""Lays a graph of workers out in memory: spans, channels, tokens, and the sockets beside them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pardata.channel.channel import FARM_WINDOW, ChannelSpec, socket_pair
from pardata.channel.leases import Lease
from pardata.channel.tokens import TerminalSpec, TokenSpec
from pardata.channel.window import Window
from pardata.channel.words import words_bytes
from pardata.codec.access import Access
from pardata.codec.code import encode_code
from pardata.codec.object_codec import Encoded, Placed
from pardata.codec.unpicklable import explain_unpicklable
from pardata.errors import CapacityError, ConfigError
from pardata.memory.arena import Span
from pardata.memory.array import find_anchor, is_in
from pardata.memory.budget import CONTROL, format_bytes
from pardata.memory.data_pointer import data_pointer
from pardata.memory.exchange.addresses import watch
from pardata.memory.gaps import align
from pardata.memory.layout import fill, layout_of
from pardata.memory.retained_blocks import RetainedBlocks
from pardata.memory.segment import PAGE_BYTES, Segment
from pardata.memory.shared_array import is_meant_shared
from pardata.memory.shared_heap import SharedHeap
from pardata.process.capacity import descriptor_limit
from pardata.process.environment import given_environment, working_directory
from pardata.process.interrupts import is_of_handler
from pardata.runtime.admission.inflight import InFlightSpec
from pardata.runtime.captured_arrays import CapturedArrays
from pardata.runtime.header import ASLEEP, RESTS
from pardata.runtime.output.forwarding import ConsoleSpec
from pardata.runtime.settings import settings
from pardata.runtime.worker.main import ParentSurroundings, ProcessSpec
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.spec import CHANNELS_AT, BudgetSpec, InputSpec, OutputSpec, OwnAreas, WorkerSpec

Array = np.ndarray[Any, Any]


class HeapSink:
    """Puts the arrays that a function has captured into the main process's arena, once for all workers."""

    def __init__(self, heap: SharedHeap, copies: CapturedArrays | None = None) -> None:
        self._heap = heap
        self._copies = CapturedArrays() if copies is None else copies
        self._address = int(np.frombuffer(heap.segment.map, np.uint8, 1).ctypes.data)

    def may_take_over(self, arrays: list[Array]) -> bool:
        """Return False: all of them are the user's."""
        return False

    def place(self, arrays: list[Array], holders: Sequence[int]) -> list[Placed]:
        """Return the places of arrays; copied if they are elsewhere, and have not been copied before."""
        return [self._place(array) for array in arrays]

    def _place(self, array: Array) -> Placed:
        block = find_anchor(array)
        if block is not None and is_in(block, self._heap.segment.map) and is_meant_shared(array):
            return block, data_pointer(array) - self._address - block.offset, array
        copied, layout = self._copies.find(array), layout_of(array)
        if copied is None:
            made = self._heap.arena.reserve(layout.nbytes)
            watch(made)  # workers may have private views of it
            copied = layout.view(array, made)
            fill(copied, array)
            self._copies.keep(array, copied)
        block = find_anchor(copied)
        assert block is not None
        return block, layout.offset, copied


def encode_program(
    program: Any, what: str, fn: object, sink: HeapSink, is_shared: bool = False, way: str = ""
) -> Encoded:
    """Encode the program of a worker; raises `ConfigError` naming the part of `fn` that cannot be pickled.

    `is_shared`: its arrays lie in one memory for all workers, and are not the own state of each. `way`: what the error
    says at its end.
    """
    try:
        return encode_code(program, sink, is_shared)
    except MemoryError:
        raise
    except Exception as error:
        if is_of_handler(error):
            raise
        told = f"{what} cannot be sent to a worker process: {explain_unpicklable(fn)} ({error}){way}"
        raise ConfigError(told) from error


@dataclass(eq=False)
class WorkerSockets:
    """A worker's ends of all its sockets but the control socket."""

    inputs: list[socket.socket] = field(default_factory=list)
    outputs: list[socket.socket] = field(default_factory=list)
    tokens: list[socket.socket] = field(default_factory=list)
    terminals: list[socket.socket] = field(default_factory=list)

    def all(self) -> list[socket.socket]:
        """Return them in the order in which `Endpoints` takes them."""
        return [*self.inputs, *self.outputs, *self.tokens, *self.terminals]


@dataclass(eq=False)
class WorkerImage:
    """A worker while its surroundings are laid out: the contents of its `WorkerSpec`, and its sockets.

    Attributes
    ----------
    position : int (bytes)
        Where in the span the next table or channel is put.
    touched : int (bytes)
        Of its tables and channels, in use from the start.
    """

    stage: str
    index: int
    span: Span
    most_owed: tuple[int, int]
    sequences: list[int]
    in_parent: bool = False
    writers: Access = Access.READ
    position: int = CHANNELS_AT
    touched: int = PAGE_BYTES
    inputs: list[InputSpec] = field(default_factory=list)
    outputs: list[OutputSpec] = field(default_factory=list)
    tokens: TokenSpec | None = None
    terminals: list[TerminalSpec] = field(default_factory=list)
    areas: OwnAreas = OwnAreas()  # noqa: RUF009 -- it cannot be changed
    socks: WorkerSockets = field(default_factory=WorkerSockets)

    def take(self, nbytes: int) -> int:
        """Return the offset in the segment of `nbytes` of this worker's control area."""
        at = self.span.offset + self.position
        self.position = align(self.position + nbytes, PAGE_BYTES)
        return at

    def record_in(self, nbytes: int) -> None:
        """Have the worker record what it does in so many bytes of its own; they count as they are used."""
        self.areas = self.areas._replace(record=(self.take(nbytes), nbytes))

    def spec(self, budget: BudgetSpec, inflight: InFlightSpec | None = None, parent_at: int = 0) -> WorkerSpec:
        """Return the description that the worker gets."""
        return WorkerSpec(
            self.stage, self.index, self.span, self.position, self.inputs, self.outputs, self.tokens, self.terminals,
            self.sequences, self.most_owed, self.writers, budget, inflight, self.areas, parent_at,
        )  # fmt: skip


def connect(
    senders: list[WorkerImage],
    receivers: list[WorkerImage],
    edge: int,
    renamed: dict[int, int],
    slots: int,
    branch: int | None = None,
    elides_wakeups: bool = False,
    ahead: int = FARM_WINDOW,
    alone: int | None = None,
) -> None:
    """Make the channels of one edge: from each sender to each receiver.

    `branch`: which items go there, None: all. `elides_wakeups`, `ahead`: see `channel.channel`; with the first, all
    waiting is the collector's. `alone`: the receivers but the first may rest.
    """
    for sender in senders:
        channels = []
        for receiver in receivers:
            sender_at = sender.take(ChannelSpec.sender_bytes(slots))
            sender.touched += words_bytes(0)  # more is counted when it is used
            receiver_at = receiver.take(ChannelSpec.receiver_bytes(slots))
            rests_at = receiver.span.offset + 8 * RESTS if alone is not None and receiver.index else None
            asleep_at = receiver.span.offset + 8 * ASLEEP if elides_wakeups else None
            spec = ChannelSpec(slots, sender_at, receiver_at, asleep_at, ahead, alone or ahead, rests_at)
            # The pair is that of all processes which the two ends will have: a successor finds in it what its
            # predecessor has not read.
            forward, backward = socket_pair()
            channels.append(spec)
            sender.socks.outputs.append(forward)
            receiver.inputs.append(InputSpec(spec, edge, renamed, sender.stage))
            receiver.socks.inputs.append(backward)
        sender.outputs.append(OutputSpec(channels, branch))


def give_tokens(source: WorkerImage, window: Window, terminals: list[list[tuple[WorkerImage, int]]]) -> None:
    """Give a source its tokens; `terminals`: per stage and sequence that retires them, (worker, sequence) pairs."""
    cells = window.most
    retired_at = []
    for workers in terminals:
        places = []
        for worker, sequence in workers:
            at = worker.take(8 * cells)
            worker.touched += align(8 * cells, PAGE_BYTES)
            source_end, terminal_end = socket_pair()
            source.socks.tokens.append(source_end)
            worker.terminals.append(TerminalSpec(sequence, cells, at))
            worker.socks.terminals.append(terminal_end)
            places.append(at)
        retired_at.append(places)
    source.tokens = TokenSpec(window, source.take(8 * cells), retired_at)
    source.touched += align(8 * cells, PAGE_BYTES)


def count_control(segment: Segment, workers: list[WorkerImage], limit_bytes: int) -> None:
    """Count what tables and channels of these workers take before anything is sent.

    Raises `CapacityError` if that alone passes the limit.
    """
    total = sum(worker.touched for worker in workers)
    if total > limit_bytes:
        raise CapacityError(
            f"the tables and channels of {len(workers)} workers need {format_bytes(total)} of shared memory, more than "
            f"the limit of {format_bytes(limit_bytes)}: raise memory_limit=, or ask for fewer workers"
        )
    for worker in workers:
        # The spans have no processes yet; from their start on each counts its own.
        worker.span.words(segment)[CONTROL] = worker.touched


class _Leases:
    """Those of one receiver, at the end of its run: the receivers of several ports may have the same leases."""

    def __init__(self, receiver: int, retained: RetainedBlocks) -> None:
        self._receiver = receiver
        self._retained = retained

    def append(self, lease: Lease, /) -> None:
        self._retained.append((self._receiver, lease))


def dissolve(heap: SharedHeap, ports: list[WorkerPort], spans: list[Span], socks: list[socket.socket]) -> None:
    """Take back all that a run or a pool had, when its processes are gone; `ports` are those of the main process.

    Arrays that are still held keep their pages until they are let go of.
    """
    for port in ports:
        port.collector.close()
    for sock in socks:
        sock.close()
    receivers = [receiver for port in ports for receiver in port.collector.receivers]
    held = [receiver.held.live for receiver in receivers]
    live = [((at, lease), *block) for at, blocks in enumerate(held) for lease, block in blocks.items()]
    # Of a block that a thread here had back from a worker and passed on there is also the anchor of its lease: it does
    # not keep the block, and ends when nothing is held any more.
    borrowed = {id(receiver.returns) for receiver in receivers}
    lent = [block for port in ports for block in port.outbox.leases.blocks() if id(block.drop) not in borrowed]
    retained = RetainedBlocks(heap, spans, live, lent)
    for at, receiver in enumerate(receivers):
        receiver.retire_to(_Leases(at, retained))
    for port in ports:
        port.outbox.leases.clear()
    heap.arena.trim()


def surroundings_of_parent(cores: int) -> ParentSurroundings:
    """Return the surroundings of this process, for workers that may use so many cores each."""
    authkey = bytes(multiprocessing.current_process().authkey)
    here = working_directory() or os.readlink("/proc/self/cwd")  # a worker says that it cannot go there
    return ParentSurroundings(
        cores, os.getpid(), list(sys.path), list(sys.argv), here, descriptor_limit(), authkey,
        given_environment(), settings(),
    )  # fmt: skip


class PlacedSpec:
    """A `ProcessSpec` in the main process's arena, where a worker reads it; keeps the blocks it refers to."""

    def __init__(
        self,
        heap: SharedHeap,
        spec: WorkerSpec,
        program: Encoded,
        output: ConsoleSpec,
        surroundings: ParentSurroundings,
    ) -> None:
        blocks = [(block.offset, block.extent_bytes) for block in program.anchors]
        data = pickle.dumps(ProcessSpec(spec, program.payload, blocks, output, surroundings))
        self._anchors = program.anchors
        self._block = heap.arena.reserve(len(data))
        self._block[: len(data)] = np.frombuffer(data, np.uint8)
        self.at = (self._block.offset, len(data))
