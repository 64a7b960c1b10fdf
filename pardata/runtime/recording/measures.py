"""The figures that pictures show, from a record. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pardata.runtime.recording.record import Floats, RunRecord, WorkerRecord, calls_of, seconds_per_item
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_COUNT,
    CALL_DONE,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_WAITED_NS,
    SAMPLE_AT_NS,
    SAMPLE_BLOCKED_NS,
    SAMPLE_BUSY_NS,
    SAMPLE_CONTROL,
    SAMPLE_FOR_MEMORY_NS,
    SAMPLE_LIVE,
    SAMPLE_STARVED_NS,
    RecordRows,
)

_COUNTERS: Final = [SAMPLE_BUSY_NS, SAMPLE_STARVED_NS, SAMPLE_BLOCKED_NS, SAMPLE_FOR_MEMORY_NS]
PARTS: Final = ("busy", "starved", "blocked", "memory")  # of a worker's time; the rest: it starts, or has ended
_SLOW_TIMES: Final = 4.0  # a call is slow that takes so many times the median of its stage
_WORTH: Final = 0.001  # of the run, that it takes at least
MOST_SLOW: Final = 20  # of all stages


def shares(workers: list[WorkerRecord], begin_ns: int, end_ns: int, bins: int) -> Floats:
    """Return which part of the time of a stage's workers went where: shape (bins, 4), in the order of `PARTS`."""
    edges = np.linspace(begin_ns, max(end_ns, begin_ns + 1), bins + 1)
    total = np.zeros((bins, 4))
    for worker in workers:
        samples = worker.recorded.samples
        if not len(samples):
            continue
        # A worker that was killed takes the busy time with it that was not counted yet: no counter goes back here.
        counters = np.maximum.accumulate(samples[:, _COUNTERS], axis=0)
        for part in range(4):
            total[:, part] += np.diff(np.interp(edges, samples[:, SAMPLE_AT_NS], counters[:, part]))
    total[:, 2] = np.maximum(0.0, total[:, 2] - total[:, 3])  # a wait for memory counts as blocked, too
    whole = (edges[1] - edges[0]) * max(1, len(workers))
    total /= whole
    found: Floats = total / np.maximum(1.0, total.sum(axis=1, keepdims=True))
    return found


def memory_over_time(record: RunRecord) -> tuple[Floats, Floats]:
    """Return times (ns) and the bytes of shared memory that were in use from each on, tables and channels included."""
    steps: list[tuple[float, int, float]] = []  # time, whose memory, bytes
    for index, worker in enumerate(record.workers):
        for sample in worker.recorded.samples:
            at = float(sample[SAMPLE_AT_NS])
            steps.append((at, index, float(sample[SAMPLE_CONTROL])))
            owner = -1 if worker.in_parent else -2 - index  # threads have one memory together, that of the main process
            base = record.base_bytes if worker.in_parent else 0
            steps.append((at, owner, max(0.0, float(sample[SAMPLE_LIVE]) - base)))
    steps.sort()
    held: dict[int, float] = {}
    times, sums, total = [], [], 0.0
    for at, owner, nbytes in steps:
        total += nbytes - held.get(owner, 0.0)
        held[owner] = nbytes
        times.append(at)
        sums.append(total)
    return np.array(times), np.array(sums)


class Latencies(NamedTuple):
    """The seconds that the items of a stage took, without waiting: some figures, and a histogram.

    `counts` are the items between each two of `edges` (seconds, of which each is so many times the one before).
    """

    items: int
    median: float
    p95: float
    p99: float
    longest: float
    edges: Floats
    counts: Floats


def latencies(workers: list[WorkerRecord], shift: int, bins: int = 40) -> Latencies | None:
    """Return the latencies of a stage, of the calls in the sample; None if there were none."""
    parts = [(calls_of(worker, shift), worker.lanes) for worker in workers]
    took = np.concatenate([seconds_per_item(calls, lanes) for calls, lanes in parts] or [np.zeros(0)])
    items = np.concatenate([calls[:, CALL_DONE].astype(float) for calls, _ in parts] or [np.zeros(0)])
    took, items = took[items > 0], items[items > 0]
    if not len(took):
        return None
    took = np.maximum(took, 1e-9)
    order = np.argsort(took)
    took, items = took[order], items[order]
    reached = np.cumsum(items) / items.sum()
    median, p95, p99 = (float(took[np.searchsorted(reached, part)]) for part in (0.5, 0.95, 0.99))
    low, high = np.log10(took[0]), np.log10(took[-1])
    edges = np.logspace(low - 0.02, max(high, low + 0.2) + 0.02, bins + 1)
    counts = np.histogram(took, edges, weights=items)[0].astype(float)
    return Latencies(int(items.sum()), median, p95, p99, float(took[-1]), edges, counts)


@dataclass(frozen=True)
class SlowCall:
    """A call that took long: its first item and how many there were, and seconds for each without waiting."""

    stage: str
    worker: int
    number: int
    count: int
    begin_ns: int
    end_ns: int
    took_s: float


def slow_calls(workers: list[WorkerRecord], median_s: float, run_s: float) -> list[SlowCall]:
    """Return the slow calls of a stage: those that took several times the median, and are worth a look.

    They are kept apart from the sample, so that none is missed.
    """
    least_s = max(_SLOW_TIMES * median_s, _WORTH * run_s)
    found = []
    for worker in workers:
        rows: RecordRows = worker.recorded.slowest
        for row, took in zip(rows, seconds_per_item(rows, worker.lanes), strict=True):
            if took > least_s:
                begin, end = int(row[CALL_BEGIN_NS]), int(row[CALL_END_NS] - row[CALL_WAITED_NS])
                found.append(
                    SlowCall(
                        worker.stage, worker.index, int(row[CALL_NUMBER]), int(row[CALL_COUNT]), begin, end, float(took)
                    )
                )
    return found


def lanes_of(begins: RecordRows, ends: RecordRows) -> list[int]:
    """Return a lane for each call, in the order of their beginnings, so that those of one lane do not overlap."""
    free_at: list[int] = []
    lanes = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        lane = next((at for at, free in enumerate(free_at) if free <= begin), len(free_at))
        if lane == len(free_at):
            free_at.append(end)
        else:
            free_at[lane] = end
        lanes.append(lane)
    return lanes
