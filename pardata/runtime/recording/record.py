"""The record of a run or a pool as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_DONE,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_RETRIES,
    CALL_WAITED_NS,
    MOST_CALLS,
    SENT,
    Recorded,
    RecordRows,
    is_kept,
)

Floats = np.ndarray[Any, np.dtype[np.float64]]

CHUNKS_BYTES: Final = 7_000_000  # of `MOST_CALLS` chunks of a pool's tasks in the main process, measured


@dataclass(frozen=True, eq=False)
class GraphEdge:
    """An edge of the graph: `renamed` are the sequences that the reader knows by another number."""

    giver: str
    reader: str
    renamed: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerRecord:
    """The record of one worker.

    Attributes
    ----------
    in_parent : bool
        It is a thread of the main process, whose memory it has.
    lanes : int
        So many calls may be at work in it at a time.
    """

    stage: str
    index: int
    recorded: Recorded
    in_parent: bool = False
    lanes: int = 1


@dataclass(frozen=True)
class DeathRecord:
    """The death of a worker; `number`: the item (or other `kind`) at work, or None; times by time.perf_counter_ns."""

    stage: str
    index: int
    number: int | None
    begun_ns: int
    at_ns: int
    how: str
    kind: str = "item"


class WorkerNotes(NamedTuple):
    """The notes of the worker processes of a pool themselves: `recorded` of each; of threads none."""

    recorded: list[Recorded] = []  # noqa: RUF012 -- nothing is added
    deaths: list[DeathRecord] = []  # noqa: RUF012
    limit_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A task of a pool: the calls of a job from `begin` on, as its worker did them. Job -1: submitted calls."""

    number: int
    task: int
    worker: int
    job: int
    kind: str
    begin: int
    done: int
    begin_ns: int
    end_ns: int
    has_failed: bool

    def at(self, begin_ns: int, end_ns: int) -> Chunk:
        """Return the same chunk at other times."""
        return replace(self, begin_ns=begin_ns, end_ns=end_ns)

    def row(self) -> tuple[int, ...]:
        """Return it as a row of calls (see `recorder`)."""
        return (self.begin_ns, self.end_ns, 0, 0, self.number, self.done, self.done, 0, 0)


@dataclass(frozen=True)
class RunRecord:
    """The record of all workers.

    Attributes
    ----------
    begin_ns, end_ns : int
        Of the run (time.perf_counter_ns).
    base_bytes : int
        Memory that was in use in the main process before.
    chunks : list of Chunk
        Of a pool.
    """

    begin_ns: int
    end_ns: int
    workers: list[WorkerRecord] = field(default_factory=list)
    deaths: list[DeathRecord] = field(default_factory=list)
    base_bytes: int = 0
    chunks: list[Chunk] = field(default_factory=list)


@dataclass(frozen=True)
class Surroundings:
    """The settings and times that a picture of a run shows beside its counts.

    Attributes
    ----------
    edges : tuple of GraphEdge
    engine : str
        "processes", "threads" or "serial".
    limit_bytes : int
        Of shared memory; 0: there is none.
    single, awaiting : tuple of str
        The stages that can have one worker only, and those that await several calls at a time.
    cores : int
        That the run may use.
    error : str
        The exception that has ended the run, with its traceback; "": none.
    record : RunRecord, optional
    auto : tuple of str
        The stages with workers="auto".
    """

    edges: tuple[GraphEdge, ...] = ()
    engine: str = ""
    limit_bytes: int = 0
    single: tuple[str, ...] = ()
    awaiting: tuple[str, ...] = ()
    cores: int = 1
    error: str = ""
    record: RunRecord | None = None
    auto: tuple[str, ...] = ()


def sample_shift(workers: list[WorkerRecord], most: int = MOST_CALLS) -> int:
    """Return after how many halvings no stage has more than `most` calls, and all have the same items."""
    shift = max((worker.recorded.shift for worker in workers), default=0)
    for stage in dict.fromkeys(worker.stage for worker in workers):
        numbers = np.concatenate([worker.recorded.calls[:, CALL_NUMBER] for worker in workers if worker.stage == stage])
        while len(numbers := numbers[is_kept(numbers, shift)]) > most and shift < 31:
            shift += 1
    return shift


def calls_of(worker: WorkerRecord, shift: int) -> RecordRows:
    """Return the calls of a worker that are in the sample, by the time when they began."""
    calls = worker.recorded.calls
    calls = calls[is_kept(calls[:, CALL_NUMBER], shift) & (calls[:, CALL_RETRIES] != SENT)]
    found: RecordRows = calls[np.argsort(calls[:, CALL_BEGIN_NS], kind="stable")]
    return found


def sent_of(worker: WorkerRecord, shift: int) -> RecordRows:
    """Return the messages in the sample that a generator filter has sent."""
    calls = worker.recorded.calls
    found: RecordRows = calls[is_kept(calls[:, CALL_NUMBER], shift) & (calls[:, CALL_RETRIES] == SENT)]
    return found


def seconds_per_item(calls: RecordRows, lanes: int = 1) -> Floats:
    """Return how long an item of each call took, without waiting; those of one message have its mean.

    Calls that are awaited together (`lanes` > 1) go on at the same time: each takes as long as its message.
    """
    took = (calls[:, CALL_END_NS] - calls[:, CALL_BEGIN_NS] - calls[:, CALL_WAITED_NS]) / 1e9
    shared = np.maximum(calls[:, CALL_DONE], 1) if lanes == 1 else np.ones(len(calls))
    seconds: Floats = np.maximum(took, 0.0) / shared
    return seconds
