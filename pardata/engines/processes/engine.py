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
import socket
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

from pardata.codec.batch_codec import Encoded
from pardata.engines.local import bars_of
from pardata.engines.processes.layout import Layout, descriptors_of
from pardata.engines.processes.local_worker import LocalWorker, stop
from pardata.engines.processes.stall import StallWatch
from pardata.errors import ConfigError, InternalError, PlanError
from pardata.memory.arena import Span
from pardata.memory.budget import available_bytes
from pardata.memory.shared_heap import shared_heap
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.ordering import Arrival, InOrder, InTurn
from pardata.pipeline.plan.plan import Plan, Stage
from pardata.pipeline.programs.build import program_of, runs_here
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.run import Run, RunOptions
from pardata.process.capacity import explained
from pardata.process.interrupts import Aside, Uninterrupted, aside
from pardata.process.launcher import fork_server
from pardata.runtime.faults import Fault
from pardata.runtime.header import (
    BEGUN_NS,
    BLOCKED_NS,
    BUSY_NS,
    CONSUMER_BUSY,
    DROPPED,
    ENDED,
    FAILED,
    ITEMS,
    MOST_SEQUENCES,
    SENT_BYTES,
    STARVED_NS,
    THREAD,
    WAITS_FOR,
)
from pardata.runtime.library_limits import usable_cores
from pardata.runtime.output import show
from pardata.runtime.poison_items import POISON_BYTES, explain, note_poison_item
from pardata.runtime.progress import REFRESH_S, Bars, RunReport, StageStatistics
from pardata.runtime.supervisor import Limits, Lost, Supervisor, Worker
from pardata.runtime.wiring import HomeSink, PlacedSpec, count_control, dissolve, encode_program
from pardata.runtime.worker.port import Port
from pardata.runtime.worker.program import CONDEMNED_AT, UnloadableError, WorkerSpec

# Who waits for an item while other threads are at theirs looks this often who has come back: that one ends is not told.
_AWAY_S: Final = 0.1


class _ConsumerProgram:
    """Stands for the consumer in its port: takes in order, gives nothing on."""

    inplace = False
    name = "consumer"
    blames_senders = True

    def __init__(self, stage: Stage | None) -> None:
        self._stage = stage

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        return Arrival() if self._stage is None else self._stage.fanin.order(following)

    def run(self, port: Port) -> None:
        raise InternalError("the consumer is the caller's loop")


# Without callbacks: they would be called in the main thread, where a Ctrl-C that comes just then gets lost.
_open_runs: dict[int, weakref.ref[ProcessRun]] = {}


@atexit.register
def _close_all() -> None:
    for reference in list(_open_runs.values()):
        run = reference()
        if run is not None:
            run.close()


class ProcessRun(Run):
    """A run on processes."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        super().__init__()
        self._plan = plan
        self._options = options
        self._failures = Failures(plan)
        self._policy = plan.last.policy
        self._condemned: set[tuple[int, int]] = set()
        self._items: deque[Any] = deque()
        self._away: set[int] = set()  # threads that have taken an item and not come back
        self._failure: BaseException | None = None
        self._closed = True  # until there is something to close
        self._stands = False
        self._standing = threading.Lock()  # is being built, or taken back
        self._ending: Aside | None = None
        self._pid = os.getpid()
        self._report: RunReport | None = None
        self._locals: list[LocalWorker] = []
        self._socks: list[socket.socket] = []
        self._spans: list[Span] = []
        self._placed: list[PlacedSpec] = []
        self._bars: Bars | None = None
        if len(plan.roots) > MOST_SEQUENCES:
            raise PlanError(
                f"{len(plan.roots)} sources, generator filters and merged branches; {MOST_SEQUENCES} are possible"
            )
        self._heap = shared_heap()
        workers, most = 1 + sum(stage.workers for stage in plan.worker_stages), self._heap.most_workers
        if workers > most:
            raise ConfigError(
                f"the stream has {len(plan.worker_stages)} stages with {workers - 1} workers together; engine="
                f'"processes" has room for {most - 1} of all runs and pools: take fewer, or engine="threads"'
            )
        sink = HomeSink(self._heap)
        self._programs = {stage: program_of(stage, plan) for stage in plan.worker_stages}
        encoded = {
            stage: encode_program(self._programs[stage], f"stage {stage.name!r} ({stage.node.where})", stage.fn, sink)
            for stage in plan.worker_stages
            if not runs_here(stage)
        }
        try:
            self._closed = False
            _open_runs[id(self)] = weakref.ref(self)
            aside(partial(self._build, encoded))
            if options.progress:
                self._bars = bars_of(plan, options.progress)
        except BaseException:  # as Ctrl-C
            self.close()
            raise

    # -- building: where no signal's handler breaks in, or what has been made and is not noted yet would be lost ---

    def _build(self, encoded: dict[Stage, Encoded]) -> None:
        with self._standing:
            if self._closed:
                return
            fork_server.start()
            limit = int(self._options.memory_limit or available_bytes() // 2)
            window = self._plan.window(self._options.tokens)
            with explained("this run", descriptors_of(self._plan)):
                self._start(Layout(self._plan, window, self._heap, self._spans, self._socks), encoded, limit)
            self._stands = True

    def _start(self, layout: Layout, encoded: dict[Stage, Encoded], limit: int) -> None:
        self._begin_s = time.perf_counter()
        arena = self._heap.arena
        spans = [(worker.span, f"stage {worker.stage!r}") for worker in layout.workers]
        spans += [(span, "the main process") for span in (layout.consumer.span, arena.span)]
        count_control(self._heap.segment, [*layout.workers, layout.consumer], limit)
        limit += arena.statistics()["live_bytes"]  # what was there before is not the run's
        self._stages = {stage.name: stage for stage in self._plan.stages}
        self._words: dict[Stage, list[memoryview]] = {stage: [] for stage in self._plan.worker_stages}
        self._stall = StallWatch(self._plan, self._words, self._options.stall_s)
        self._spans_of: dict[Worker, Span] = {}
        self._supervise(layout, layout.consumer.spec(limit, spans, layout.inflight()))
        inflight = layout.inflight()
        for stage in self._plan.worker_stages:
            for wired in layout.wired[stage]:
                self._words[stage].append(wired.span.words(self._heap.segment))
                control, child = layout.pair()
                spec, socks = wired.spec(limit, spans, inflight), [child, *wired.socks]
                if wired.in_parent:
                    port = Port(spec, self._heap.segment, socks, self._programs[stage], arena)
                    self._add_local(stage, port, control)
                else:
                    self._add_worker(stage, spec, encoded[stage], control, socks)
        for worker in self._spans_of:
            self._supervisor.start(worker)
        for local in self._locals:
            local.start()
        terminal = {stage.name for stage in self._plan.ends}
        self._last_workers = [worker for worker in self._spans_of if worker.stage in terminal]

    def _supervise(self, layout: Layout, spec: WorkerSpec) -> None:
        """Make the caller's own port, and what waits with it for the workers."""
        consumer = _ConsumerProgram(self._plan.last if self._plan.iterated else None)
        control, self._wake = layout.pair()
        socks = [control, *layout.consumer.socks]
        self._port = Port(spec, self._heap.segment, socks, consumer, self._heap.arena)
        self._port.words[CONSUMER_BUSY] = 1
        on_event, on_lost = _weakly(self._on_event), _weakly(self._on_lost)
        self._supervisor = Supervisor(self._heap.segment, self._port.collector, on_event, on_lost)
        self._supervisor.max_restarts = self._options.max_restarts
        self._threads_each = max(1, usable_cores() // max(1, len(layout.processes)))

    def _add_worker(
        self, stage: Stage, spec: WorkerSpec, program: Encoded, control: socket.socket, socks: list[socket.socket]
    ) -> None:
        placed = PlacedSpec(self._heap, spec, program, self._threads_each, bool(self._options.progress))
        self._placed.append(placed)
        redoable, node = self._programs[stage].redoable, stage.node
        worker = Worker(stage.name, placed.at, spec.span.words(self._heap.segment), control, socks, redoable)
        worker.shortest_s = node.timeout_s
        worker.limits_of = partial(_same_for_all, Limits(node.timeout_s, node.retries))
        self._spans_of[worker] = spec.span

    def _add_local(self, stage: Stage, port: Port, control: socket.socket) -> None:
        local = LocalWorker(stage, self._programs[stage], port, control)
        self._locals.append(local)
        self._port.collector.watch(control, partial(_weakly(self._hear_local), local))

    # -- running ---------------------------------------------------------------------------------------------------

    def __next__(self) -> Any:
        thread = threading.get_ident()
        self._away.discard(thread)  # before its turn: who waits in there is not to count on this one
        with self._turn:
            if not self._items:
                self._take_more()
            self._away.add(thread)
            return self._items.popleft()

    def _take_more(self) -> None:
        """Get the next items; raises StopIteration at the end of the run."""
        if self._closed:
            raise StopIteration
        try:
            self._fill()
        except BaseException:
            self.close()
            raise
        self._port.words[CONSUMER_BUSY] = 1
        if not self._items:
            self.close()
            raise StopIteration

    def _fill(self) -> None:
        """Get the next items; none at the end of the run, and if another thread closes it."""
        port = self._port
        self._stall.begin()
        while not self._items and not port.is_cancelled:
            late_in_s = self._supervisor.enforce()
            if self._failure is not None:
                raise self._failure
            try:
                batches = port.try_take()
            except UnloadableError as error:
                raise error.failure().original from None
            if batches is not None:
                self._items.extend(join_batches(batches, self._policy).items)
                del batches
                port.commit()
            elif self._at_end():
                self._listen()
                self._failure = self._failure or self._failures.at_end(self._items_of)
                if self._failure is None:
                    return
            else:
                is_away = self._is_another_away()
                port.words[THREAD], port.words[CONSUMER_BUSY] = threading.get_native_id(), is_away
                looks = [REFRESH_S if self._bars is not None else None, _AWAY_S if is_away else None]
                waits = [late_in_s, self._stall.look(), *looks]
                port.collector.wait(min((wait for wait in waits if wait is not None), default=None))
            self._show()

    def _is_another_away(self) -> bool:
        """Whether another thread is at an item, so that it may let go of memory yet."""
        if self._away:
            self._away &= {thread.ident for thread in threading.enumerate()}
        return bool(self._away)

    def _listen(self) -> None:
        """Hear of every item that was skipped, before the run is taken for complete."""
        self._supervisor.listen()
        for local in self._locals:
            with contextlib.suppress(BlockingIOError):
                while self._hear_local(local):
                    pass

    def _at_end(self) -> bool:
        if self._plan.iterated:
            return self._port.collector.at_end
        return all(worker.closed for worker in self._last_workers) and all(
            local.done for local in self._locals if not local.stage.consumers
        )

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            self._bars.update([statistics.items for statistics in self.report().stages], final)

    def _hear_local(self, local: LocalWorker) -> bool:
        """Take in what a thread says next; return False if it has ended."""
        event = local.hear()
        if event is None:
            return False
        if event[0] == "skipped":
            self._skip(*event[1:])
        elif event[0] == "failed":
            self._fail(local.error or event[1].exception())
        return True

    def _on_event(self, worker: Worker, event: tuple[Any, ...]) -> None:
        if event[0] == "skipped":
            self._skip(*event[1:])
        elif event[0] == "failed":
            self._fail(event[1].exception())
        else:
            show(worker.stage, event)

    def _skip(self, fault: Fault, sequence: int, is_listed: bool) -> None:
        verdict = self._failures.note(fault, sequence, is_listed, self._items_of)
        if verdict is not None:
            self._fail(verdict)

    def _fail(self, failure: BaseException) -> None:
        if self._failure is None:
            self._failure = failure

    def _items_of(self, stage: str) -> int:
        return sum(words[ITEMS] for words in self._words[self._stages[stage]])

    def _on_lost(self, lost: Lost) -> None:
        """Go on without the item that is to blame, where that was asked for; else the run fails."""
        stage = self._stages[lost.worker.stage]
        who = f"stage {stage.name!r}"
        is_spared = stage.node.errors != "raise" and not stage.node.inplace and lost.spent is None
        if lost.batch is not None and is_spared and lost.batch not in self._condemned:
            self._condemned.add(lost.batch)  # should it be to blame once more, it was not the call
            words = self._spans_of[lost.worker].words(self._heap.segment, CONDEMNED_AT, POISON_BYTES // 8)
            note_poison_item(words, lost.batch, lost.deaths, lost.status, lost.timeout_s)
            self._supervisor.restart(lost.worker)
        elif lost.batch is not None and lost.timeout_s:
            self._fail(explain(who, f"item {lost.batch[1]}", lost.deaths, lost.status, lost.timeout_s))
        else:
            self._fail(lost.error(who))

    # -- ending ----------------------------------------------------------------------------------------------------

    def _statistics(self) -> list[StageStatistics]:
        made = []
        restarts = {stage.name: 0 for stage in self._plan.worker_stages}
        for worker in self._supervisor.workers:
            restarts[worker.stage] += worker.restarts
        now_ns = time.monotonic_ns()
        for stage, words in self._words.items():
            headers = np.array([list(header[:16]) for header in words])
            ended_ns = now_ns - headers[headers[:, WAITS_FOR] == ENDED, BEGUN_NS]
            sums = headers.sum(axis=0)
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
                    float(ended_ns.sum()) / 1e9,
                    restarts[stage.name],
                )
            )
        return made

    def report(self) -> RunReport:
        if self._report is not None:
            return self._report
        return RunReport(self._statistics(), time.perf_counter() - self._begin_s, self._failures.skipped)

    def close(self) -> None:
        """End the run, finished or not. Returns when every process is gone; if interrupted, they go all the same."""
        if self._is_over():
            return
        if os.getpid() != self._pid:
            return  # a forked child has a copy of the run, which is its parent's
        if not self._closed and self._stands:
            with contextlib.suppress(OSError):
                self._wake.send(b"cancel")  # another thread may wait for an item: it leaves
        with self._turn:
            self._close()

    def _close(self) -> None:
        with Uninterrupted():
            if not self._closed:
                self._closed = True
                self._ending = Aside(self._end)
        try:
            if self._ending is not None:
                self._ending.wait()
        finally:
            self._items.clear()
            self._show(final=True)
            bars, self._bars = self._bars, None
            if bars is not None:
                bars.close()

    def _end(self) -> None:
        """End all processes, and take back what there is: not all of it, if the start has failed half-way."""
        with self._standing:
            try:
                if hasattr(self, "_supervisor"):
                    self._supervisor.stop()
            finally:
                if self._stands:
                    self._report = self.report()
                self._tear_down()
                _open_runs.pop(id(self), None)

    def _tear_down(self) -> None:
        abandoned = stop(self._locals)  # they may still write into their spans, and give them back themselves
        for local in abandoned:
            self._spans.remove(local.port.spec.span)
        ports = [local.port for local in self._locals if local not in abandoned]
        if hasattr(self, "_port"):
            ports.append(self._port)
        self._placed.clear()
        dissolve(self._heap, ports, self._spans, self._socks)

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        """End a run that nobody holds: in a thread, as it may be dropped anywhere, with any lock held."""
        if not _is_over() and not getattr(self, "_closed", True) and os.getpid() == self._pid:
            threading.Thread(target=self.close, name="pardata-closer").start()


def _weakly(method: Callable[..., object]) -> Callable[..., None]:
    """Return a function that calls `method` while its object lives.

    So a run is not part of a reference cycle: when nobody holds it, it ends at once, with its sockets still open.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(*arguments)

    return call


def _same_for_all(limits: Limits, batch: tuple[int, int]) -> Limits:
    return limits
