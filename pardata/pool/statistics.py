"""The statistics of a pool: tasks and times of each worker, and the longest calls."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from pardata.pool.jobs.job import Job, Outcome, Task
from pardata.runtime.library_limits import usable_cores
from pardata.runtime.recording.record import Surroundings

_LONGEST: Final = 5  # calls that are kept
_KINDS: Final = {"CallJob": "call", "MapJob": "map", "ArrayJob": "map_array"}


def kind_of(job: Job) -> str:
    """Return the name of the method by which a job came: "map" or "map_array"; "call" for a single one."""
    return _KINDS.get(type(job).__name__, "map")


@dataclass
class Log:
    """The work of a pool's workers, one entry of `workers` each. It stays as it is from `end_s` on."""

    workers: list[dict[str, float]]
    longest: list[tuple[float, str]] = field(default_factory=list)
    begin_s: float = field(default_factory=time.perf_counter)
    end_s: float | None = None
    received_bytes: int = 0

    def add(self, worker: int, task: Task, outcome: Outcome) -> None:
        """Take in the outcome of a task."""
        entry = self.workers[worker]
        entry["tasks"] += 1
        entry["work_s"] += outcome.seconds
        longest_s, index = outcome.longest
        if len(self.longest) < _LONGEST or longest_s > self.longest[-1][0]:
            kind = kind_of(task.job)
            what = "a call" if kind == "call" else f"item {task.begin + index} of a {kind}"
            self.longest = sorted([*self.longest, (longest_s, what)], reverse=True)[:_LONGEST]

    @classmethod
    def of(cls, workers: int) -> Log:
        """Return the log of so many workers."""
        return cls([{"tasks": 0, "start_s": 0.0, "work_s": 0.0, "deaths": 0} for _ in range(workers)])

    def surroundings(self, name: str, kind: str) -> Surroundings:
        """Return what pictures show beside the counts."""
        return Surroundings(engine=kind, cores=usable_cores())

    def keep(self) -> None:
        """End the log. Read what workers have noted themselves, before it is gone."""
        self.end_s = time.perf_counter()

    @property
    def spent_s(self) -> float:
        """Seconds since the pool's start, until its end."""
        return (time.perf_counter() if self.end_s is None else self.end_s) - self.begin_s

    def statistics(self) -> dict[str, Any]:
        """Return the log, with the time each worker waited."""
        spent_s = self.spent_s
        workers = [
            {**entry, "wait_s": max(0.0, spent_s - entry["start_s"] - entry["work_s"])} for entry in self.workers
        ]
        return {"seconds": spent_s, "workers": workers, "longest": list(self.longest)}
