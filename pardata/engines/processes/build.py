"""From a plan to a run on processes: memory and sockets, the workers, and the caller's loop.

Builder(plan)   refuses a plan that cannot run, and pickles the functions; nothing is started
  build()       lays out memory -> the caller's port and supervisor -> the workers -> starts them -> `Loop`
"""

from __future__ import annotations

import socket
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pardata.codec.access import Access
from pardata.engines.processes.layout import Layout, descriptors_of, fit_into, runs_here
from pardata.engines.processes.local_worker import LocalWorker
from pardata.engines.processes.outcome import RunOutcome
from pardata.engines.processes.parts import Parts
from pardata.engines.processes.recording import Recording
from pardata.engines.processes.report import Statistics
from pardata.engines.processes.run import Loop
from pardata.engines.processes.tuner import ProcessTuner
from pardata.errors import InternalError
from pardata.memory.budget import available_bytes
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder, InTurn
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.build import program_of
from pardata.pipeline.run import RunOptions
from pardata.process.capacity import check_descriptors, explained
from pardata.process.launcher import fork_server
from pardata.runtime.header import CONSUMER_BUSY, NEXT_NUMBER, RESTS
from pardata.runtime.library_limits import share_cores
from pardata.runtime.output.console import Console, tag_of
from pardata.runtime.recording.recording_port import open_port
from pardata.runtime.supervisor import Limits, Supervisor, Worker
from pardata.runtime.watching.plates import RUN, hang_plates
from pardata.runtime.wiring import HeapSink, PlacedSpec, count_control, encode_program, surroundings_of_parent
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.spec import BudgetSpec, WorkerSpec

_HERE: Final = '; kind="thread" has it called in this process'


class _ConsumerProgram:
    """Stands for the consumer in its port: takes in order, gives nothing on."""

    inplace = False
    access = Access.RESULT
    name = "consumer"
    blames_senders = True

    def __init__(self, fanin: Fanin | None) -> None:
        self._fanin = fanin

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        return Arrival() if self._fanin is None else self._fanin.order(following)

    def run(self, port: WorkerPort) -> None:
        raise InternalError("the consumer is the caller's loop")


class Builder:
    """Builds the run of one plan into its `Parts`.

    Raises
    ------
    PlanError, ConfigError
        The plan has more numberings or workers than there is room for, or a function cannot be pickled; nothing was
        started.
    """

    def __init__(
        self, plan: Plan, options: RunOptions, parts: Parts, statistics: Statistics, outcome: RunOutcome
    ) -> None:
        self._limit = int(options.memory_limit or available_bytes() // 2)
        processes = [stage for stage in plan.worker_stages if not runs_here(stage)]
        fit_into(plan, parts.heap.most_workers, self._limit)
        self._plan = plan
        self._options = options
        self._parts = parts
        self._statistics = statistics
        self._outcome = outcome
        self._segment = parts.heap.segment
        self._surroundings = surroundings_of_parent(share_cores(plan.at_work(processes)))
        self._programs = {stage: program_of(stage, plan, options.random_seed) for stage in plan.worker_stages}
        sink = HeapSink(parts.heap)
        self._encoded = {
            stage: encode_program(
                self._programs[stage],
                f"stage {stage.name!r} ({stage.node.where})",
                stage.fn,
                sink,
                way=_HERE if stage.node.may_be_thread else "",
            )
            for stage in processes
        }

    def build(self, away: set[int]) -> Loop:
        """Make and start everything; return the loop that takes items. `away`: see `Loop`.

        It runs where no signal's handler breaks in: a part that was made and not noted yet would be lost.
        """
        plan, parts = self._plan, self._parts
        fork_server.start()
        limit, window = self._limit, plan.window(self._options.tokens)
        descriptors = descriptors_of(plan)
        check_descriptors("this run", descriptors)
        with explained("this run", descriptors):
            parts.console = Console(parts.heap, self._options.on_output)
            layout = Layout(plan, window, parts, self._options.record)
            self._statistics.begin_s = time.perf_counter()
            needed = [worker for worker in layout.workers if worker not in layout.spares]
            count_control(self._segment, [*needed, layout.consumer], limit)
            there_bytes = parts.heap.arena.statistics()["live_bytes"]
            self._statistics.recording = Recording(layout, self._segment, limit, there_bytes)
            limit += there_bytes  # the arrays that are there already are not the run's
            budget = BudgetSpec(limit, layout.budgeted)
            stages = [layout.workers_of[stage] for stage in plan.worker_stages]
            hang_plates(self._segment, layout.consumer, RUN, "", limit, stages)
            port, supervisor = self._supervise(layout, layout.consumer.spec(budget, layout.inflight))
            self._add_workers(layout, budget)
            tuner = self._statistics.tuner = self._tuner(layout)
            for worker in parts.processes:
                # Behind the tuner, which has laid those aside that are not needed yet.
                if not worker.words[RESTS]:
                    supervisor.start(worker)
            for local in parts.threads:
                local.start()
        return Loop(plan, parts, self._statistics, self._outcome, port, supervisor, self._options.stall_s, away, tuner)

    def _tuner(self, layout: Layout) -> ProcessTuner | None:
        """Return what gives stages with workers="auto" their workers; None: there is nothing to give."""
        supervisor = self._parts.supervisor
        assert supervisor is not None
        if not layout.spares:
            return None
        return ProcessTuner(self._plan, self._parts, layout, supervisor)

    def _supervise(self, layout: Layout, spec: WorkerSpec) -> tuple[WorkerPort, Supervisor]:
        """Make the caller's own port, and the supervisor that waits for the workers with it."""
        parts, outcome = self._parts, self._outcome
        consumer = _ConsumerProgram(self._plan.last.fanin if self._plan.iterated else None)
        control, parts.wake = parts.socket_pair()
        parts.port = port = WorkerPort(
            spec, self._segment, [control, *layout.consumer.socks.all()], consumer, parts.heap.arena
        )
        # SYNC POINT: consumer. It may still let go of memory until it has asked for its first item.
        port.words[CONSUMER_BUSY] = 1
        on_event, on_lost = _weakly(outcome.on_event), _weakly(outcome.on_lost)
        parts.supervisor = supervisor = Supervisor(self._segment, port.collector, on_event, on_lost)
        supervisor.max_restarts = self._options.max_restarts
        return port, supervisor

    def _add_workers(self, layout: Layout, budget: BudgetSpec) -> None:
        for stage in self._plan.worker_stages:
            for image in layout.workers_of[stage]:
                words = image.span.words(self._segment)
                self._statistics.words[stage].append(words)
                for sequence, number in self._plan.following.items():  # before there is a worker that reads them
                    words[NEXT_NUMBER + sequence] = number
                control, child = self._parts.socket_pair()
                spec, socks = image.spec(budget, layout.inflight), [child, *image.socks.all()]
                if image.in_parent:
                    self._add_thread(stage, spec, control, socks)
                else:
                    self._add_process(stage, spec, control, socks)

    def _add_process(self, stage: Stage, spec: WorkerSpec, control: socket.socket, socks: list[socket.socket]) -> None:
        """Add a worker process."""
        parts, on_error = self._parts, stage.node.on_error
        assert parts.console is not None
        output = parts.console.spec(tag_of(stage.name, spec.index, stage.workers))
        placed = PlacedSpec(parts.heap, spec, self._encoded[stage], output, self._surroundings)
        parts.placed.append(placed)
        words, redoable = spec.span.words(self._segment), self._programs[stage].redoable
        worker = Worker(stage.name, placed.at, words, control, [*socks, parts.console.sock], redoable)
        if not stage.node.concurrency:  # such stages end their calls themselves
            worker.shortest_s = on_error.timeout_s
        worker.limits_of = partial(_same_for_all, Limits(on_error.timeout_s, on_error.retries))
        parts.processes[worker] = spec.span

    def _add_thread(self, stage: Stage, spec: WorkerSpec, control: socket.socket, socks: list[socket.socket]) -> None:
        """Add a worker that is a thread of this process."""
        parts, program = self._parts, self._programs[stage]
        assert parts.port is not None
        port = open_port(spec, self._segment, socks, program, parts.heap.arena)
        local = LocalWorker(stage, program, port, control, self._surroundings.cores)
        parts.threads.append(local)
        parts.port.collector.watch(control, partial(_weakly(self._outcome.hear), local))


def _weakly(method: Callable[..., object]) -> Callable[..., None]:
    """Return a function that calls `method` while its object lives.

    Without it a run would be part of a reference cycle. So it ends as soon as the user drops it, while its sockets are
    still open; in a cycle it would live until the garbage collector comes.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*arguments)

    return call


def _same_for_all(limits: Limits, batch: tuple[int, int]) -> Limits:
    return limits
