"""The engine of every day: each worker a process, each edge channels through shared memory.

      source thread --channels--> worker processes --channels--> this process (if iterated)
             <--------------- tokens: one per message that leaves the run

The calling thread is the supervisor: `__next__` waits on one selector for items, for what workers report, and for their
ends. Nothing runs in the background but the threads of sources that read an iterable of this process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from pardata.channel.channel import socket_pair
from pardata.channel.message import Encoded
from pardata.errors import InternalError, PlanError, WorkerLostError
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.home import Remains, home
from pardata.pipeline.ordering import Arrival, InOrder
from pardata.pipeline.plan import Kind, Plan, Stage
from pardata.pipeline.stages import ItemProgram, PipeProgram, SourceProgram
from pardata.pipeline.stream import Run
from pardata.runtime.faults import Fault
from pardata.runtime.limits import usable_cores
from pardata.runtime.port import Cancelled, Port, StageFailure
from pardata.runtime.process import fork_server
from pardata.runtime.progress import REFRESH_S, Bars, RunReport, Skipped, StageStatistics
from pardata.runtime.supervisor import Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, Wired, connect, encode_program, give_tokens
from pardata.runtime.words import (
    BLOCKED_NS,
    BUSY_NS,
    DROPPED,
    FAILED,
    ITEMS,
    MOST_DOMAINS,
    SENT_BYTES,
    STARVED_NS,
)

# A successor can find one token retired before its predecessor's commit, so one more message may be in flight.
_SPARE_SLOTS: Final = 4
_THREAD_JOIN_S: Final = 0.5

fork_server.preload.append("pardata.pipeline.stages")


class _ConsumerProgram:
    """Stands for the consumer in its port: takes in order, gives nothing on."""

    inplace = False
    name = "consumer"

    def __init__(self, stage: Stage | None) -> None:
        self._stage = stage

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any]:
        if self._stage is not None and self._stage.takes_in_order:
            return InOrder(len(self._stage.edges) if self._stage.zipped else 1, following)
        return Arrival()

    def run(self, port: Port) -> None:
        raise InternalError("the consumer is the caller's loop")


def program_of(stage: Stage, plan: Plan) -> ItemProgram | PipeProgram | SourceProgram:
    """Return what the workers of a stage run."""
    node = stage.node
    if stage.kind is Kind.SOURCE:
        assert stage.own_domain is not None
        return SourceProgram(stage.name, source_maker(stage.fn), stage.own_domain, plan.chunksizes[stage.own_domain])
    edges = len(stage.edges) if stage.zipped else 1
    if stage.kind is Kind.PIPE:
        assert stage.own_domain is not None and stage.fn is not None
        size = plan.chunksizes[stage.own_domain]
        return PipeProgram(stage.name, stage.fn, stage.own_domain, edges, stage.takes_in_order, size)
    skip, is_filter = node.errors == "skip", stage.kind is Kind.FILTER
    return ItemProgram(stage.name, stage.fn, edges, stage.takes_in_order, node.inplace, is_filter, skip)


def source_maker(items: Any) -> Any:
    """Return a function that returns the iterable of a source."""
    return items if callable(items) and not hasattr(items, "__iter__") else lambda: items


def _runs_here(stage: Stage) -> bool:
    """Whether a stage is a thread of this process: a source that reads an object of this process."""
    return stage.kind is Kind.SOURCE and (not callable(stage.fn) or hasattr(stage.fn, "__iter__"))


class _SourceThread:
    """A source over an iterable of this process, and its end of the control socket."""

    def __init__(self, stage: Stage, program: SourceProgram, port: Port, control: socket.socket) -> None:
        self.stage = stage
        self.port = port
        self.control = control
        self.error: BaseException | None = None
        self.done = False
        self.is_abandoned = False
        self._has_ended = False
        self._lock = threading.Lock()
        self._program = program
        self.thread = threading.Thread(target=self._run, name=f"pardata-{stage.name}", daemon=True)

    def _run(self) -> None:
        try:
            self._program.run(self.port)
            self.done = True
            self.port.finish()
        except Cancelled:
            return
        except StageFailure as failure:
            self._tell(failure.original, failure.fault)
        except BaseException as error:
            self._tell(error, Fault.of(error, self.stage.name))
        finally:
            self._end()

    def abandon(self) -> bool:
        """Leave the thread to itself if it lives; it gives its span back when it comes to its end."""
        with self._lock:
            self.is_abandoned = not self._has_ended
        return self.is_abandoned

    def _end(self) -> None:
        with self._lock:
            self._has_ended = True
        if self.is_abandoned:
            self.port.collector.close()
            self.port.outbox.leases.clear()
            home().return_spans([self.port.spec.span])

    def _tell(self, error: BaseException, fault: Fault) -> None:
        error.add_note(fault.note)
        self.error = error
        with contextlib.suppress(Exception):  # nobody listens any more
            self.port.report(("failed", fault))


_open_runs: weakref.WeakSet[ProcessRun] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for run in list(_open_runs):
        run.close()


class ProcessRun(Run):
    """A run on processes."""

    def __init__(self, plan: Plan, progress: bool, tokens: int | None, memory_limit: int | None) -> None:
        self._plan = plan
        self._skipped: dict[tuple[str, int, int], Skipped] = {}
        self._items: deque[Any] = deque()
        self._failure: BaseException | None = None
        self._closed = True  # until everything stands
        self._pid = os.getpid()
        self._report: RunReport | None = None
        self._threads: list[_SourceThread] = []
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self._bars: Bars | None = None
        if len(plan.roots) > MOST_DOMAINS:
            raise PlanError(
                f"{len(plan.roots)} sources, generator filters and merged branches; {MOST_DOMAINS} are possible"
            )
        self._home = home()
        sink = HomeSink(self._home)
        self._programs = {stage: program_of(stage, plan) for stage in plan.worker_stages}
        encoded = {
            stage: encode_program(self._programs[stage], f"stage {stage.name!r} ({stage.node.where})", stage.fn, sink)
            for stage in plan.worker_stages
            if not _runs_here(stage)
        }
        fork_server.start()
        limit = memory_limit if memory_limit is not None else available_bytes() // 2
        try:
            self._wire(tokens or plan.default_tokens())
            self._start(encoded, limit)
            if progress:
                self._bars = Bars([stage.name for stage in plan.worker_stages], self._total())
        except BaseException:
            self._abandon()
            raise
        self._closed = False
        _open_runs.add(self)

    # -- building --------------------------------------------------------------------------------------------------

    def _wire(self, tokens: int) -> None:
        plan = self._plan
        self._wired: dict[Stage, list[Wired]] = {}
        has_inplace = any(stage.node.inplace for stage in plan.stages)
        for stage in plan.stages:
            domains = sorted(stage.taken_domains | stage.domains)
            is_consumer = stage is plan.last and plan.iterated
            here = is_consumer or _runs_here(stage)
            self._wired[stage] = [
                Wired(
                    stage.name, index, self._take_span(), is_consumer or stage.workers > 1, domains, here, has_inplace
                )
                for index in range(stage.workers)
            ]
        for stage in plan.stages:
            for index, edge in enumerate(stage.edges):
                slots = tokens * len(edge.stage.domains) + _SPARE_SLOTS
                connect(self._wired[edge.stage], self._wired[stage], index if stage.zipped else 0, edge.renamed, slots)
        for stage in plan.stages:
            if stage.own_domain is not None:
                give_tokens(self._wired[stage][0], tokens, self._terminals(stage.own_domain))
        for workers in self._wired.values():
            for worker in workers:
                self._socks += worker.socks
        if not plan.iterated:  # the supervisor's own port, with nothing to take
            self._consumer = Wired("consumer", 0, self._take_span(), True, [], True)
        else:
            self._consumer = self._wired[plan.last][0]

    def _terminals(self, root: int) -> list[list[tuple[Wired, int]]]:
        return [
            [(worker, domain) for worker in self._wired[stage]]
            for stage in self._plan.stages
            for domain in sorted(stage.retired_domains)
            if self._plan.roots[domain] == root
        ]

    def _take_span(self) -> Span:
        span = self._home.take_span()
        self._spans.append(span)
        return span

    def _pair(self) -> tuple[socket.socket, socket.socket]:
        pair = socket_pair()
        self._socks += pair
        return pair

    def _start(self, encoded: dict[Stage, Encoded], limit: int) -> None:
        everyone = [worker for workers in self._wired.values() for worker in workers if not worker.in_parent]
        arena = self._home.arena
        budget_spans = [(worker.span, f"stage {worker.stage!r}") for worker in everyone]
        budget_spans.append((arena.span, "the main process"))
        limit += arena.statistics()["live_bytes"]  # what was there before is not the run's
        segment = self._home.segment
        consumer_stage = self._plan.last if self._plan.iterated else None
        ours, theirs = self._pair()
        self._control = theirs
        spec = self._consumer.spec(limit, budget_spans)
        self._port = Port(spec, segment, [ours, *self._consumer.socks], _ConsumerProgram(consumer_stage), arena)
        self._supervisor = Supervisor(segment, self._port.collector, _weakly(self._on_event), _weakly(self._on_lost))
        self._words: dict[Stage, list[memoryview]] = {}
        threads = max(1, usable_cores() // max(1, len(everyone)))
        waiting: list[Worker] = []
        for stage in self._plan.worker_stages:
            self._words[stage] = []
            for wired in self._wired[stage]:
                words = wired.span.words(segment)
                self._words[stage].append(words)
                control, child = self._pair()
                spec = wired.spec(limit, budget_spans)
                if wired.in_parent:
                    self._add_thread(
                        stage, Port(spec, segment, [child, *wired.socks], self._programs[stage], arena), control
                    )
                    continue
                placed = PlacedSpec(self._home, spec, encoded[stage], threads)
                self._placed.append(placed)
                redoable = self._programs[stage].redoable
                waiting.append(Worker(stage.name, placed.at, words, control, [child, *wired.socks], redoable))
        for worker in waiting:
            self._supervisor.start(worker)
        for source in self._threads:
            source.thread.start()
        self._begin_s = time.perf_counter()
        terminal = {stage.name for stage in self._plan.stages if not stage.consumers}
        self._last_workers = [worker for worker in waiting if worker.stage in terminal]

    def _add_thread(self, stage: Stage, port: Port, control: socket.socket) -> None:
        program = self._programs[stage]
        assert isinstance(program, SourceProgram)
        source = _SourceThread(stage, program, port, control)
        self._threads.append(source)
        self._port.collector.watch(control, partial(_weakly(self._hear_thread), source))

    def _total(self) -> int | None:
        totals = [
            len(stage.node.fn) for stage in self._plan.stages if _runs_here(stage) and hasattr(stage.fn, "__len__")
        ]
        return totals[0] if len(totals) == 1 else None

    # -- running ---------------------------------------------------------------------------------------------------

    def __next__(self) -> Any:
        if not self._items:
            if self._closed:
                raise StopIteration
            try:
                self._fill()
            except BaseException:
                self.close()
                raise
            if not self._items:
                self.close()
                raise StopIteration
        return self._items.popleft()

    def _fill(self) -> None:
        """Get the next items; none at the end of the run."""
        port = self._port
        while not self._items:
            if self._failure is not None:
                raise self._failure
            batches = port.try_take()
            if batches is not None:
                self._items.extend(_zipped(batches))
                del batches
                port.commit()
            elif self._at_end():
                return
            else:
                port.collector.wait(REFRESH_S if self._bars is not None else None)
            self._show()

    def _at_end(self) -> bool:
        if self._plan.iterated:
            return self._port.collector.at_end
        return all(worker.closed for worker in self._last_workers) and all(
            source.done for source in self._threads if not source.stage.consumers
        )

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            self._bars.update([statistics.items for statistics in self._statistics()], final)

    def _hear_thread(self, source: _SourceThread) -> None:
        data = source.control.recv(1 << 18)
        if not data or self._failure is not None:
            return
        event = pickle.loads(data)
        if event[0] == "failed":
            self._failure = source.error or event[1].exception()

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "skipped":
            skipped = Skipped.of(event[1])
            self._skipped[skipped.stage, event[2], skipped.number] = skipped  # a redo may tell it again
        elif event[0] == "failed":
            worker.done = True
            if self._failure is None:
                self._failure = event[1].exception()

    def _on_lost(self, lost: Lost) -> None:
        if self._failure is None:
            self._failure = WorkerLostError(lost.message(f"stage {lost.worker.stage!r}", lost.what))

    # -- ending ----------------------------------------------------------------------------------------------------

    def _statistics(self) -> list[StageStatistics]:
        made = []
        restarts = {stage.name: 0 for stage in self._plan.worker_stages}
        for worker in self._supervisor.workers:
            restarts[worker.stage] += worker.restarts
        for stage, words in self._words.items():
            sums = np.array([list(header[:16]) for header in words]).sum(axis=0)
            made.append(
                StageStatistics(
                    stage.name,
                    stage.workers,
                    int(sums[ITEMS]),
                    int(sums[DROPPED]),
                    int(sums[FAILED]),
                    int(sums[SENT_BYTES]),
                    float(sums[BUSY_NS]) / 1e9,
                    float(sums[STARVED_NS]) / 1e9,
                    float(sums[BLOCKED_NS]) / 1e9,
                    restarts[stage.name],
                )
            )
        return made

    def report(self) -> RunReport:
        if self._report is not None:
            return self._report
        skipped = sorted(self._skipped.values(), key=lambda item: (item.stage, item.number))
        return RunReport(self._statistics(), time.perf_counter() - self._begin_s, skipped)

    def _abandon(self) -> None:
        """Take back a start that failed half-way."""
        if hasattr(self, "_supervisor"):
            self._supervisor.stop()
        self._tear_down()

    def close(self) -> None:
        if self._closed or os.getpid() != self._pid:
            return  # a forked child has a copy of the run, which is its parent's
        self._closed = True
        self._items.clear()
        try:
            self._supervisor.stop()
        finally:
            self._report = self.report()
            self._show(final=True)
            self._tear_down()

    def _tear_down(self) -> None:
        if self._bars is not None:
            self._bars.close()
        for source in self._stop_threads():  # it may still write into its span, and gives it back itself
            self._spans.remove(source.port.spec.span)
        receivers = []
        if hasattr(self, "_port"):
            receivers = self._port.receivers
            self._port.collector.close()
        for sock in self._socks:
            sock.close()
        live = [(lease, *block) for receiver in receivers for lease, block in receiver.live.items()]
        lent = [block for source in self._threads for block in source.port.outbox.leases.blocks()]
        self._wired = {}
        remains = Remains(self._home, self._spans, live, lent)
        for receiver in receivers:
            receiver.retire_to(remains)
        for source in self._threads:
            if not source.is_abandoned:
                source.port.outbox.leases.clear()
        self._placed.clear()
        self._home.arena.trim()

    def _stop_threads(self) -> list[_SourceThread]:
        """Cancel the source threads. Return those that are held up in the user's iterable."""
        started = [source for source in self._threads if source.thread.ident is not None]
        for source in started:
            with contextlib.suppress(OSError):
                source.control.send(b"cancel")
        for source in started:
            source.thread.join(_THREAD_JOIN_S)
        for source in self._threads:
            if not source.thread.is_alive():
                source.port.collector.close()
        return [source for source in started if source.abandon()]

    def __del__(self) -> None:
        """End a run that nobody holds: in a thread, as it may be dropped anywhere, with any lock held."""
        if not getattr(self, "_closed", True) and os.getpid() == self._pid:
            threading.Thread(target=self.close, name="pardata-closer").start()


def _weakly(method: Callable[..., None]) -> Callable[..., None]:
    """Return a function that calls `method` while its object lives.

    So a run is not part of a reference cycle: when nobody holds it, it ends at once, with its sockets still open.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*arguments)

    return call


def _zipped(batches: list[Any]) -> list[Any]:
    from pardata.pipeline.stages import zip_batches

    items: list[Any] = zip_batches(batches).items
    return items
