"""The engine whose workers are threads of this process: for NumPy, which releases the GIL, files and sockets.

The stages run the same programs as in processes, over `ThreadPort`. Functions are shared by all workers and need not be
picklable; arrays pass without a copy where that is safe (`runtime.isolation`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

from pardata.engines.local import surroundings_of
from pardata.engines.threads.awaiting_port import AwaitingThreadPort
from pardata.engines.threads.hub import Hub
from pardata.engines.threads.port import ThreadPort
from pardata.engines.threads.recording_port import RecordingAwaitingThreadPort, RecordingThreadPort
from pardata.engines.threads.tuner import ThreadTuner
from pardata.errors import ConfigError
from pardata.pipeline.lifecycle import RunEvent, RunState
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.plan.totals import totals
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.run import Run, RunOptions
from pardata.process.capacity import explained
from pardata.process.interrupts import INTERRUPT_S, start_thread
from pardata.runtime.progress import RunReport, StageStatistics
from pardata.runtime.recording.record import RunRecord, Surroundings
from pardata.runtime.settings import as_here
from pardata.runtime.stage_bars import REFRESH_S, Bars
from pardata.runtime.worker.program import Cancelled

_JOIN_S: Final = 0.5  # for a thread to come back from the user's function when the run is over


class ThreadRun(Run):
    """A run on threads."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        for stage in plan.stages:
            if stage.node.on_error.timeout_s is not None and not stage.node.concurrency:
                raise ConfigError(
                    f"stage {stage.name!r} ({stage.node.where}): timeout_s= needs processes, not "
                    f'engine="threads": a thread cannot be ended'
                )
        super().__init__()
        self._plan = plan
        self._hub = Hub(plan, plan.window(options.tokens), options.random_seed, options.on_cut)
        self._inlet = ThreadPort(self._hub, plan.last, self._hub.inboxes[plan.last if plan.iterated else None])
        self._items: deque[Any] = deque()
        self._is_recorded = options.record
        self._ports: dict[Stage, list[ThreadPort]] = {stage: [] for stage in plan.worker_stages}
        self._threads: list[threading.Thread] = []
        self._report: RunReport | None = None
        self._begin_s = time.perf_counter()
        self._bars: Bars | None = None
        self._tuner: ThreadTuner | None = None
        self._life.on(RunEvent.BEGIN)
        try:
            if options.progress:
                self._bars = Bars(totals(plan), kind=options.progress)
            for stage in reversed(plan.worker_stages):
                for _ in range(stage.first_workers):
                    self._start(stage)
            if any(stage.workers > stage.first_workers for stage in plan.worker_stages):
                self._tuner = ThreadTuner(self._hub, self._ports)
        except BaseException:
            self.close()
            raise

    def _start(self, stage: Stage) -> None:
        index = len(self._ports[stage])
        port = self._kind_of(stage)(self._hub, stage, self._hub.inboxes[stage], index)
        if index >= stage.first_workers:
            port.join_in()
        self._ports[stage].append(port)
        self._hub.statistics[stage].append(port.statistics)
        thread = threading.Thread(
            target=as_here(port.work), args=(self._hub.programs[stage],), name=f"pardata-{stage.name}", daemon=True
        )
        self._threads.append(thread)
        with explained(f"stage {stage.name!r}"):
            start_thread(thread)

    def _kind_of(self, stage: Stage) -> type[ThreadPort]:
        awaits = getattr(self._hub.programs[stage], "awaits", False)
        if self._is_recorded:
            return RecordingAwaitingThreadPort if awaits else RecordingThreadPort
        return AwaitingThreadPort if awaits else ThreadPort

    def __next__(self) -> Any:
        with self._turn:
            while not self._items:
                self._take_more()
            return self._items.popleft()

    def _take_more(self) -> None:
        if self._life.state is not RunState.OPEN:
            raise StopIteration
        self._check_process()
        try:
            self._fill()
        except Cancelled:
            self.close()
        except BaseException:
            self.close()
            raise
        if self._hub.failure is not None:  # raised here, where no other error is handled that would be its context
            raise self._hub.take_failure()

    def _fill(self) -> None:
        longest_s = REFRESH_S if self._bars is not None else INTERRUPT_S
        batches = self._inlet.take(min(longest_s, self._tune()))
        if batches is None:
            self._hub.check_at_end()
            self.close()
        elif batches:
            self._items.extend(join_batches(batches, self._plan.last.fanin.policy).items)
            self._inlet.commit()
        if self._bars is not None:
            self._show()

    def _tune(self) -> float:
        """Start the threads that are missing; return in how many seconds to look again."""
        if self._tuner is None:
            return INTERRUPT_S
        due_s = self._tuner.look()
        for stage, ports in self._ports.items():
            for _ in range(len(ports), self._hub.inboxes[stage].in_use):
                self._start(stage)
        return INTERRUPT_S if due_s is None else due_s

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            parts = self._hub.statistics.values()
            self._bars.update([sum(part.items for part in each) for each in parts], final)

    def report(self) -> RunReport:
        if self._report is not None:
            return self._report
        names = [field.name for field in fields(StageStatistics)[2:]]
        now_s = time.perf_counter()
        stages = []
        for stage, ports in self._ports.items():
            parts = [port.statistics_at(now_s) for port in ports]
            sums = {name: sum(getattr(part, name) for part in parts) for name in names}
            stages.append(StageStatistics(stage.name, self._hub.inboxes[stage].in_use, **sums))
        seconds = time.perf_counter() - self._begin_s
        return RunReport(stages, seconds, self._hub.failures.skipped, self._surroundings(seconds))

    def _surroundings(self, seconds: float) -> Surroundings:
        ports = [port for ports in self._ports.values() for port in ports]
        workers = [port.record() for port in ports if isinstance(port, RecordingThreadPort)]
        begin_ns = int(self._begin_s * 1e9)
        record = RunRecord(begin_ns, begin_ns + int(seconds * 1e9), workers) if self._is_recorded else None
        return surroundings_of(self._plan, "threads", self._hub.failure, record)

    def close(self) -> None:
        """End the run. A thread that does not come back from the user's function is left to end by itself."""
        if self._is_over() or os.getpid() != self._life.pid:
            return  # a forked child has a copy of the run, and none of its threads
        self._hub.cancel()  # a thread that waits for an item leaves
        with self._turn:
            self._close()

    def _close(self) -> None:
        if not self._life.close():
            return
        deadline = time.monotonic() + _JOIN_S
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._report = self.report()
        self._items.clear()
        self._show(final=True)
        if self._bars is not None:
            self._bars.close()
        self._has_closed()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        if not _is_over() and self._is_open():
            self.close()


__all__ = ["ThreadRun"]
