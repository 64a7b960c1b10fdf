"""The record of a pool: its tasks as the main process hears of them, with the times that the workers have noted."""

from __future__ import annotations

import itertools
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pardata.pool.jobs.job import Outcome, Task
from pardata.pool.statistics import Log, kind_of
from pardata.runtime.recording.record import Chunk, RunRecord, Surroundings, WorkerNotes, WorkerRecord
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_WORDS,
    MOST_CALLS,
    SAMPLE_AT_NS,
    SAMPLE_WORDS,
    Recorded,
    is_kept,
)


@dataclass
class RecordingLog(Log):
    """Also keeps each task; above `MOST_CALLS` a uniform sample of them. All submitted calls are one job, number -1.

    Attributes
    ----------
    shift : int
        How often the sample was halved.
    noted : callable
        Returns what the worker processes have noted themselves.
    """

    chunks: list[Chunk] = field(default_factory=list)
    shift: int = 0
    _numbers: Any = field(default_factory=itertools.count)
    _jobs: weakref.WeakKeyDictionary[Any, int] = field(default_factory=weakref.WeakKeyDictionary)
    _count: int = 0
    noted: Callable[[], WorkerNotes] = lambda: WorkerNotes()

    def add(self, worker: int, task: Task, outcome: Outcome) -> None:
        super().add(worker, task, outcome)
        number, self._count = self._count, self._count + 1
        if not is_kept(np.array([number]), self.shift)[0]:
            return
        end_ns = time.perf_counter_ns()
        kind = kind_of(task.job)
        begin_ns = end_ns - int(1e9 * outcome.seconds)
        job, has_failed = self._job(kind, task.job), outcome.fault is not None
        noted = task.number, worker, job, kind, task.begin, outcome.done, begin_ns, end_ns, has_failed
        self.chunks.append(Chunk(number, *noted))
        if len(self.chunks) > MOST_CALLS:
            self.shift += 1
            self.chunks = [chunk for chunk in self.chunks if is_kept(np.array([chunk.number]), self.shift)[0]]

    def _job(self, kind: str, job: Any) -> int:
        if kind == "call":
            return -1
        if job not in self._jobs:
            self._jobs[job] = next(self._numbers)
        return self._jobs[job]

    def keep(self) -> None:
        super().keep()
        kept = self.noted()
        self.noted = lambda: kept

    def surroundings(self, name: str, kind: str) -> Surroundings:
        notes = self.noted()
        return replace(
            super().surroundings(name, kind), limit_bytes=notes.limit_bytes, record=self._record(name, notes)
        )

    def _record(self, name: str, notes: WorkerNotes) -> RunRecord:
        recorded = notes.recorded
        begin_ns = int(1e9 * self.begin_s)
        noted = {
            int(row[CALL_NUMBER]): (int(row[CALL_BEGIN_NS]), int(row[CALL_END_NS]))
            for each in recorded
            for row in each.calls
        }
        chunks = [chunk.at(*noted.get(chunk.task, (chunk.begin_ns, chunk.end_ns))) for chunk in self.chunks]
        workers = []
        for index in range(len(self.workers)):
            rows = [chunk.row() for chunk in chunks if chunk.worker == index]
            samples = recorded[index].samples if index < len(recorded) else np.zeros((0, SAMPLE_WORDS), np.int64)
            calls = np.array(rows, np.int64).reshape(-1, CALL_WORDS)
            workers.append(
                WorkerRecord(f"{name} {index}", index, Recorded(calls, calls[:0], samples, self.shift), not recorded)
            )
        deaths = [replace(death, stage=f"{name} {death.index}", kind="task") for death in notes.deaths]
        ends = [chunk.end_ns for chunk in chunks] + [death.at_ns for death in deaths]
        ends += [int(each.samples[-1, SAMPLE_AT_NS]) for each in recorded if len(each.samples)]
        return RunRecord(begin_ns, max(ends, default=begin_ns), workers, deaths, 0, chunks)


def log_of(workers: int, is_recorded: bool) -> Log:
    """Return the log of a pool."""
    return RecordingLog.of(workers) if is_recorded else Log.of(workers)
