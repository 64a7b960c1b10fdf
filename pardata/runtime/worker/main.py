"""The child's side: be a worker process, from its spec in the segment to its exit code."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pardata.channel.births import Births, open_lender
from pardata.channel.channel import RunGone
from pardata.codec.code import decode_code
from pardata.codec.main_globals import open_script
from pardata.memory import write_check
from pardata.memory.array import anchor
from pardata.memory.segment import Segment
from pardata.memory.shared_heap import set_worker_arena
from pardata.process import forked_child
from pardata.process.capacity import limit_descriptors
from pardata.process.environment import take_environment
from pardata.process.forked_child import leave_if_forked
from pardata.process.title import set_title
from pardata.runtime.events import Failed, send_event
from pardata.runtime.faults import Fault, exit_as_error, refuse_breakpoint
from pardata.runtime.header import EXITS_NS
from pardata.runtime.library_limits import bytes_to_keep, keep_freed_memory, limit_process
from pardata.runtime.output.descriptors import take_streams
from pardata.runtime.output.forwarding import ConsoleSpec, flush_output, forward_output
from pardata.runtime.recording.recording_port import open_port
from pardata.runtime.settings import take_on
from pardata.runtime.worker.disown import disown
from pardata.runtime.worker.port import Program, WorkerPort
from pardata.runtime.worker.program import Cancelled, Leaving, StageFailure
from pardata.runtime.worker.spec import WorkerSpec


@dataclass(frozen=True)
class ParentSurroundings:
    """The surroundings that workers take over from the process that starts them, and their share of the cores."""

    cores: int
    owner: int  # the process that starts them
    path: list[str]
    argv: list[str]
    directory: str
    descriptors: int  # how many files that process may open
    authkey: bytes = field(repr=False)  # of multiprocessing: proxies of the user's managers know it
    environment: dict[str, str] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ProcessSpec:
    """The surroundings of a worker process, its `WorkerSpec`, and the place of its program in the segment."""

    worker: WorkerSpec
    program: bytes
    blocks: list[tuple[int, int]]
    output: ConsoleSpec
    surroundings: ParentSurroundings


def run_program(port: WorkerPort, program: Program) -> int:
    """Run a program to its end; return the exit code."""
    here = forked_child.generation
    try:
        try:
            program.run(port)
        finally:
            flush_output()
        port.finish()
        return 0
    except (Cancelled, Leaving, RunGone):
        return 0
    except BaseException as error:  # those of asyncio and of test frameworks are no Exception
        leave_if_forked(here, error.original if isinstance(error, StageFailure) else error)
        port.report(Failed(_fault_of(error, port)))
        return 1


def _fault_of(error: BaseException, port: WorkerPort) -> Fault:
    if isinstance(error, StageFailure):
        return error.fault
    return Fault.of(exit_as_error(error), port.spec.stage, port.item_at_work)


def main(offset: int, length: int, fds: list[int]) -> int:
    """Be a worker: map the segment ``fds[0]``, read the spec at `offset`, and run its program.

    The last two descriptors become standard output and error. Returns the exit code. Python's exit functions run next;
    a word tells the parent so, which gives them their time.
    """
    segment = Segment(fds[0], os.fstat(fds[0]).st_size)
    take_streams(fds[-2:])
    *socks, output = [socket.socket(fileno=fd) for fd in fds[1:-2]]
    try:
        spec: ProcessSpec = pickle.loads(memoryview(segment.map)[offset : offset + length])
    except BaseException as error:
        return _cannot_load("a worker process", error, socks)
    try:
        return _work(spec, segment, socks, output)
    finally:
        spec.worker.span.words(segment)[EXITS_NS] = time.monotonic_ns()


def _work(spec: ProcessSpec, segment: Segment, socks: list[socket.socket], output: socket.socket) -> int:
    try:
        forward_output(output, spec.output, segment)
        set_title(spec.worker.stage, spec.worker.index)
        _settle_in(spec.surroundings, len(socks) + 1)
        write_check.begin(segment.map, spec.worker.span.offset, spec.worker.span.size_bytes)
        blocks = [anchor(segment.map, at, extent, None, None) for at, extent in spec.blocks]
        program: Program = decode_code(spec.program, blocks, segment)
    except BaseException as error:
        return _cannot_load(spec.worker.stage, error, socks)
    # From here on the words of the span change: a process that could not load its program has left all but EXITS_NS.
    port = open_port(spec.worker, segment, socks, program)
    set_worker_arena(port.outbox.arena)
    port.outbox.arena.before_growth = port.memory.poll
    port.collector.on_idle(port.outbox.arena.trim)
    memory = port.memory
    lender = open_lender(port.outbox.arena, memory.poll, memory.pause, bytes_to_keep(spec.surroundings.environment))
    if lender is not None:
        port.outbox.placer.births = Births(lender)
        port.collector.on_idle(lender.trim)
    os.register_at_fork(after_in_child=partial(disown, port))
    return run_program(port, program)


def _cannot_load(stage: str, error: BaseException, socks: list[socket.socket]) -> int:
    """Tell why a worker cannot begin, and close its sockets, which no port has; return its exit code."""
    told = exit_as_error(error)
    fault = Fault.of(told, stage, -1, "while its function was being loaded in the worker")
    send_event(socks[0], Failed(fault))
    for sock in socks:
        sock.close()
    return 1


def _settle_in(around: ParentSurroundings, socks: int) -> None:
    """Take on the surroundings of the process that starts this one."""
    sys.path[:] = around.path
    sys.argv[:] = around.argv
    take_environment(around.environment)
    _enter(around.directory)
    limit_descriptors(around.descriptors + socks)
    multiprocessing.current_process().authkey = around.authkey
    limit_process(around.cores, around.environment)
    keep_freed_memory(around.environment)
    take_on(around.settings)
    np.random.seed()  # or every forked worker would draw the same numbers
    open_script(around.owner)
    sys.breakpointhook = refuse_breakpoint


def _enter(directory: str) -> None:
    """Go to a working directory. Where that cannot be, as it was removed, work in the root directory and say so."""
    try:
        os.chdir(directory)
    except OSError as error:
        os.chdir("/")
        text = f"the working directory {directory!r} cannot be entered ({error.strerror}): this worker works in '/'"
        print(text, file=sys.stderr)
