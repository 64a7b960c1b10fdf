"""The statistics of a run on processes, read from the headers of its workers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pardata.engines.local import surroundings_of
from pardata.engines.processes.parts import Parts
from pardata.engines.processes.recording import Recording
from pardata.engines.processes.tuner import ProcessTuner
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.header import (
    BEGUN_NS,
    BLOCKED_NS,
    BUSY_NS,
    DROPPED,
    ENDED,
    FAILED,
    ITEMS,
    SENT_BYTES,
    STARVED_NS,
    WAITS_FOR,
)
from pardata.runtime.progress import RunReport, StageStatistics
from pardata.runtime.recording.record import RunRecord
from pardata.runtime.stage_bars import Bars
from pardata.runtime.supervisor import deaths_of


class Statistics:
    """The counters of all workers: as a `RunReport`, and as progress bars.

    Attributes
    ----------
    begin_s : float
        The moment from which on the seconds of the run count.
    bars : Bars, optional
        The progress bars, if the user wants any.
    recording : Recording, optional
        The limit of memory and what the workers record; None until they are laid out.
    tuner : ProcessTuner, optional
        It knows how many workers are in use.
    words : dict
        The headers of the workers of each stage, in shared memory: a worker is the only writer of its own. They can be
        read until the run is torn down.
    """

    def __init__(self, plan: Plan, parts: Parts, failures: Failures) -> None:
        self.words: dict[Stage, list[memoryview]] = {stage: [] for stage in plan.worker_stages}
        self._plan = plan.whole
        self._part_of = plan.part_of
        self._away = {} if plan.part_of is None else plan.part_of.away
        self._processes = parts.processes
        self._failures = failures
        self._named = {stage.name: words for stage, words in self.words.items()}
        self.begin_s = time.perf_counter()
        self.bars: Bars | None = None
        self.recording: Recording | None = None
        self.tuner: ProcessTuner | None = None

    def items_of(self, stage: str) -> int:
        """Return how many items a stage has taken."""
        if stage in self._away:
            return self._away[stage]().items
        return sum(words[ITEMS] for words in self._named[stage])

    def report(self) -> RunReport:
        """Return the counts of this moment."""
        restarts = {stage.name: 0 for stage in self.words}
        for worker in self._processes:
            restarts[worker.stage] += worker.restarts
        now_ns = time.monotonic_ns()
        found = {stage.name: _sum(stage, words, now_ns, restarts[stage.name]) for stage, words in self.words.items()}
        found |= {name: counts() for name, counts in self._away.items()}
        stages = [found[stage.name] for stage in self._plan.worker_stages]
        if self.tuner is not None:
            self.tuner.correct(stages)
        nodes = [] if self._part_of is None else self._part_of.nodes()
        return RunReport(stages, time.perf_counter() - self.begin_s, self._failures.skipped, nodes=nodes)

    def whole_report(self, failure: BaseException | None) -> RunReport:
        """Return the counts of this moment and all that pictures are drawn of; `failure` has ended the run."""
        report, recording = self.report(), self.recording
        limit_bytes = 0 if recording is None else recording.limit_bytes
        record = None
        if recording is not None and recording.is_on:
            begin_ns = int(self.begin_s * 1e9)
            deaths = deaths_of(list(self._processes))
            end_ns = begin_ns + int(report.seconds * 1e9)
            record = RunRecord(begin_ns, end_ns, recording.workers(), deaths, recording.base_bytes)
        return replace(report, surroundings=surroundings_of(self._plan, "processes", failure, record, limit_bytes))

    # -- the bars --------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Bring the bars up to date, if there are any."""
        if self.bars is not None:
            self.bars.update([statistics.items for statistics in self.report().stages])

    def close_bars(self, report: Callable[[], RunReport]) -> None:
        """Show the last report in the bars, if there are any, and close them."""
        bars, self.bars = self.bars, None
        if bars is not None:
            bars.update([statistics.items for statistics in report().stages], final=True)
            bars.close()


def _sum(stage: Stage, words: list[memoryview], now_ns: int, restarts: int) -> StageStatistics:
    """Add up the counters of the workers of a stage."""
    headers = np.array([list(header[:16]) for header in words])
    ended_ns = now_ns - headers[headers[:, WAITS_FOR] == ENDED, BEGUN_NS]
    sums = headers.sum(axis=0)
    return StageStatistics(
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
        restarts,
    )
