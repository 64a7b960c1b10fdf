"""The default engine: each worker is a process, each edge consists of channels through shared memory.

      source thread --channels--> worker processes --channels--> this process (if iterated)
             <--------------- tokens: one per message that leaves the run

The calling thread is the supervisor: `__next__` waits on one selector for items, for the workers' reports, and for
their ends. Nothing runs in the background but the threads of sources that read an iterable of this process.

      `build` --> `run` (the loop; `outcome` keeps its failure, `report` its statistics) --> `teardown`

`parts` lists everything that a build makes and a teardown takes back. `ProcessRun` goes from one to the next.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from pardata.engines.processes.build import Builder
from pardata.engines.processes.outcome import RunOutcome
from pardata.engines.processes.parts import Parts
from pardata.engines.processes.report import Statistics
from pardata.engines.processes.run import Loop
from pardata.engines.processes.teardown import open_runs, take_back
from pardata.memory.shared_heap import shared_heap
from pardata.pipeline.lifecycle import RunEvent, RunState
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.totals import totals
from pardata.pipeline.run import Run, RunOptions
from pardata.process.imports import refuse_start_by_import
from pardata.process.interrupts import Aside, Hastened, Uninterrupted, aside
from pardata.runtime.progress import RunReport
from pardata.runtime.settings import as_here
from pardata.runtime.stage_bars import Bars
from pardata.runtime.stopping import RUN_CALLS_S


class ProcessRun(Run):
    """A run on processes."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        refuse_start_by_import()
        super().__init__()
        self._items: deque[Any] = deque()
        self._away: set[int] = set()  # threads that have taken an item and not come back
        self._loop: Loop | None = None  # until it is built
        self._changing = threading.Lock()  # held by the thread that builds the run, or takes it back
        self._ending: Aside | None = None
        self._parts = Parts(shared_heap())
        failures = Failures(plan.whole)
        self._statistics = Statistics(plan, self._parts, failures)
        self._report: RunReport | None = None  # the last one, when the headers that it is read from are given back
        self._outcome = RunOutcome(plan, self._parts, self._statistics, failures, options.on_cut, options.on_skip)
        builder = Builder(plan, options, self._parts, self._statistics, self._outcome)
        try:
            self._life.on(RunEvent.BEGIN)
            open_runs[id(self)] = weakref.ref(self)
            aside(as_here(partial(self._build, builder)))
            if options.progress:
                self._statistics.bars = Bars(totals(plan.whole), kind=options.progress)
        except BaseException:  # as Ctrl-C
            self.close()
            raise

    def _build(self, builder: Builder) -> None:
        with self._changing:
            # Else it was closed before this thread had the lock, and `_end` has found nothing to take back.
            if self._life.state is RunState.OPEN:
                self._loop = builder.build(self._away)

    # -- running ---------------------------------------------------------------------------------------------------

    def __next__(self) -> Any:
        thread = threading.get_ident()
        self._away.discard(thread)  # before its turn: the thread that has the turn is not to count on this one
        with self._turn:
            if not self._items:
                self._take_more()
            self._away.add(thread)
            return self._items.popleft()

    def _take_more(self) -> None:
        """Get the next items; raises StopIteration at the end of the run."""
        if self._life.state is not RunState.OPEN:
            raise StopIteration
        self._check_process()
        loop = self._loop
        assert loop is not None
        try:
            loop.fill(self._items)
        except BaseException as error:
            if not isinstance(error, Exception) and self._parts.console is not None:
                self._parts.console.hurry()
            self.close()
            raise
        if not self._items:
            self.close()
            raise StopIteration

    def report(self) -> RunReport:
        if self._report is None:
            try:
                found = self._statistics.whole_report(self._outcome.failure)
                return self._report or found
            except Exception:
                if self._report is None:
                    raise
        return self._report  # the run has ended, perhaps just now: its memory may be another run's

    def catch_up(self) -> None:
        """Return when all that workers have said until now is out."""
        if self._parts.console is not None:
            self._parts.console.catch_up()

    # -- ending ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the run, finished or not. Returns when every process is gone.

        Ctrl-C meanwhile has them killed; a second one is raised without a further wait, and they go all the same.
        """
        if self._is_over():
            return
        if os.getpid() != self._life.pid:
            return  # a forked child has a copy of the run, which is its parent's
        if self._is_open() and self._loop is not None and self._parts.wake is not None:
            with contextlib.suppress(OSError):
                self._parts.wake.send(b"cancel")  # another thread may wait for an item: it leaves
        with self._turn:
            self._close()

    def _close(self) -> None:
        with Uninterrupted():
            if self._life.close():
                self._ending = Aside(self._end)
        try:
            if self._ending is not None:
                with Hastened(self._hurry):
                    self._ending.wait()
        finally:
            self._items.clear()
            self._statistics.close_bars(self.report)

    def _hurry(self) -> None:
        if self._parts.supervisor is not None:
            self._parts.supervisor.hurry()

    def _end(self) -> None:
        """End all processes, and take back all parts that are there; some are missing if the build has failed."""
        with self._changing:
            try:
                if self._parts.supervisor is not None:
                    self._parts.supervisor.stop(RUN_CALLS_S)
            finally:
                if self._loop is not None:
                    # From the headers of the spans, which `take_back` gives back: they may be another run's then.
                    self._report = self.report()
                take_back(self._parts)
                open_runs.pop(id(self), None)
                if self._parts.console is not None:
                    self._parts.console.close()
            self._has_closed()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        """End a run that was dropped: in a thread of its own, since this one may hold any lock at this moment."""
        if not _is_over() and self._is_open() and os.getpid() == self._life.pid:
            threading.Thread(target=self.close, name="pardata-closer").start()
