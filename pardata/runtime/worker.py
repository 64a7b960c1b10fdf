"""The child's side: be a worker process, from its spec in the segment to its exit code."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pardata.channel.channel import RunGone
from pardata.channel.message import decode_object
from pardata.channel.script import open_script
from pardata.memory.array import anchor
from pardata.memory.home import set_worker_arena
from pardata.memory.segment import Segment
from pardata.runtime import forked
from pardata.runtime.faults import Fault, exit_as_error
from pardata.runtime.forked import disown, leave_if_forked
from pardata.runtime.limits import keep_freed_memory, limit_threads
from pardata.runtime.output import flush_output, forward_output
from pardata.runtime.port import Port, Program, send_event
from pardata.runtime.program import Cancelled, Leaving, StageFailure, WorkerSpec
from pardata.runtime.title import set_title


@dataclass(frozen=True)
class ProcessSpec:
    """What a worker process gets besides: its surroundings, and where its program lies in the segment."""

    worker: WorkerSpec
    program: bytes
    blocks: list[tuple[int, int]]
    threads: int
    forwards_output: bool
    owner: int  # the process that starts it
    path: list[str]
    argv: list[str]
    directory: str
    environment: dict[str, str] = field(repr=False)


def run_program(port: Port, program: Program) -> int:
    """Run a program to its end; return the exit code."""
    here = forked.generation
    try:
        program.run(port)
        flush_output()
        port.finish()
        return 0
    except (Cancelled, Leaving, RunGone):
        return 0
    except BaseException as error:  # those of asyncio and of test frameworks are no Exception
        leave_if_forked(here, error.original if isinstance(error, StageFailure) else error)
        port.report(("failed", _fault_of(error, port), None))
        return 1


def _fault_of(error: BaseException, port: Port) -> Fault:
    if isinstance(error, StageFailure):
        return error.fault
    return Fault.of(exit_as_error(error), port.spec.stage, port.item_at_work)


def main(offset: int, length: int, fds: list[int]) -> int:
    """Be a worker: map the segment ``fds[0]``, read the spec at `offset`, and run its program."""
    segment = Segment(fds[0], os.fstat(fds[0]).st_size)
    socks = [socket.socket(fileno=fd) for fd in fds[1:]]
    stage = "a worker process"
    try:
        spec: ProcessSpec = pickle.loads(memoryview(segment.map)[offset : offset + length])
        stage = spec.worker.stage
        _settle_in(spec, socks[0])
        blocks = [anchor(segment.map, at, extent, None, None) for at, extent in spec.blocks]
        program: Program = decode_object(spec.program, blocks)
    except BaseException as error:
        told = exit_as_error(error)
        fault = Fault.of(told, stage, -1, "while its function was being loaded in the worker")
        send_event(socks[0], ("failed", fault, None))
        return 1
    port = Port(spec.worker, segment, socks, program)
    set_worker_arena(port.arena)
    port.arena.before_growth = port.poll_for_memory
    port.collector.on_idle(port.arena.trim)
    if spec.forwards_output:
        forward_output(port, logging.getLogger().level)
    os.register_at_fork(after_in_child=partial(disown, port))
    return run_program(port, program)


def _settle_in(spec: ProcessSpec, control: socket.socket) -> None:
    """Take on the surroundings of the process that starts this one."""
    sys.path[:] = spec.path
    sys.argv[:] = spec.argv
    os.environ.clear()
    os.environ.update(spec.environment)
    _enter(spec.directory, control)
    set_title(spec.worker.stage, spec.worker.index)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    limit_threads(spec.threads, spec.environment)
    keep_freed_memory(spec.environment)
    np.random.seed()  # or every forked worker would draw the same numbers
    open_script(spec.owner)


def _enter(directory: str, control: socket.socket) -> None:
    """Go to a working directory. Where that cannot be, as it was removed, work in the root directory and say so."""
    try:
        os.chdir(directory)
    except OSError as error:
        os.chdir("/")
        text = f"the working directory {directory!r} cannot be entered ({error.strerror}): this worker works in '/'\n"
        send_event(control, ("said", "stderr", text))
