"""A record as a trace in the format of Chromium's tracing, which Perfetto reads as well. Pure.

A process per stage and a thread per worker; where calls overlap, a thread per call that is at work. Times are in µs.

Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.runtime.recording.measures import lanes_of, memory_over_time
from pardata.runtime.recording.record import (
    GraphEdge,
    RunRecord,
    Surroundings,
    WorkerRecord,
    calls_of,
    sample_shift,
    sent_of,
)
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_BYTES,
    CALL_COUNT,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_RETRIES,
    CALL_SEQUENCE,
    CALL_WAITED_NS,
    RecordRows,
)

TraceEvent = dict[str, Any]
_LANES: Final = 10_000  # threads of one worker
_BEFORE_END: Final = 0.999  # of a slice: where an arrow leaves it, so that it is within

_AT_ONCE: Final = 100  # events that are one piece of the text

# Where messages are in the trace, by sequence and number: thread, begin, end.
MessagePlaces = dict[tuple[int, int], tuple[int, float, float]]


class Track(NamedTuple):
    """A stage in the trace: the number of its process, and its workers."""

    process: int
    workers: list[WorkerRecord]


def as_trace(around: Surroundings) -> Iterator[str]:
    """Return the trace as JSON, in pieces: it may be large, and no more than two stages are held at a time."""
    record = around.record
    assert record is not None
    told = {"shown": f"1 of {1 << sample_shift(record.workers)} messages"}
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(told)},"traceEvents":['
    events, comma = _events(record, around), ""
    while some := list(itertools.islice(events, _AT_ONCE)):
        yield comma + json.dumps(some, separators=(",", ":"))[1:-1]
        comma = ","
    yield "]}"


def _events(record: RunRecord, around: Surroundings) -> Iterator[TraceEvent]:
    shift = sample_shift(record.workers)
    tracks: dict[str, Track] = {}
    for worker in record.workers:
        tracks.setdefault(worker.stage, Track(len(tracks) + 1, [])).workers.append(worker)
    for death in record.deaths:  # also of those that had not begun
        tracks.setdefault(death.stage, Track(len(tracks) + 1, []))
    yield from _counters(record, len(tracks) + 1, around.limit_bytes)
    digits = len(str(len(tracks)))
    for name, track in tracks.items():
        # Chromium sorts processes by their index, Perfetto by their names: numbers put them into the plan's order.
        yield _named("process_name", track.process, 0, f"{track.process:0{digits}} {name}")
        yield _sorted("process_sort_index", track.process, 0, track.process)
    for track in tracks.values():
        for worker in track.workers:
            yield from _calls(record, worker, track.process, shift)
    for death in record.deaths:
        event = _event("i", f"worker died: {death.how}", tracks[death.stage].process, _thread(death.index))
        yield {**event, "ts": _us(record, death.at_ns), "s": "t", "args": {"item": death.number}}
    numbers = itertools.count(1)
    for edge in around.edges:
        if edge.giver in tracks and edge.reader in tracks:  # else no worker of one of them had begun
            yield from _arrows(record, edge, tracks[edge.giver], tracks[edge.reader], shift, numbers)


def _thread(worker: int, lane: int = 0) -> int:
    """Return the number of a thread: to Perfetto those of number 0, and of its process's number, are one thread."""
    return (worker + 1) * _LANES + lane


def _us(record: RunRecord, at_ns: float) -> float:
    return round((float(at_ns) - record.begin_ns) / 1e3, 3)


def _near_end(begin: float, end: float) -> float:
    return round(begin + _BEFORE_END * (end - begin), 3)


def _event(kind: str, name: str, process: int, thread: int) -> TraceEvent:
    return {"ph": kind, "name": name, "pid": process, "tid": thread}


def _named(what: str, process: int, thread: int, name: str) -> TraceEvent:
    return {**_event("M", what, process, thread), "args": {"name": name}}


def _sorted(what: str, process: int, thread: int, place: int) -> TraceEvent:
    return {**_event("M", what, process, thread), "args": {"sort_index": place}}


def _lanes(worker: WorkerRecord, calls: RecordRows) -> list[int]:
    if worker.lanes == 1:
        return [0] * len(calls)
    return lanes_of(calls[:, CALL_BEGIN_NS], calls[:, CALL_END_NS])


def _calls(record: RunRecord, worker: WorkerRecord, process: int, shift: int) -> Iterator[TraceEvent]:
    """Return the slices of a worker."""
    calls, stage = calls_of(worker, shift), worker.stage
    lanes = _lanes(worker, calls)
    for lane in dict.fromkeys([0, *lanes]):
        thread = _thread(worker.index, lane)
        name = f"{stage} {worker.index}" + (f", call {lane}" if worker.lanes > 1 else "")
        yield _named("thread_name", process, thread, name)
        yield _sorted("thread_sort_index", process, thread, thread)
    for call, lane in zip(calls.tolist(), lanes, strict=True):
        number, count, thread = call[CALL_NUMBER], call[CALL_COUNT], _thread(worker.index, lane)
        name = f"item {number}" if count == 1 else f"items {number} to {number + count - 1}"
        begin, end = _us(record, call[CALL_BEGIN_NS]), _us(record, call[CALL_END_NS])
        told = {"waited_us": call[CALL_WAITED_NS] / 1e3, "bytes": call[CALL_BYTES]}
        if call[CALL_RETRIES]:
            told["retries"] = call[CALL_RETRIES]
        yield {**_event("X", name, process, thread), "ts": begin, "dur": round(end - begin, 3), "args": told}


def _taken(record: RunRecord, track: Track, shift: int) -> MessagePlaces:
    """Return the slices of the messages that a stage has taken."""
    found: MessagePlaces = {}
    for worker in track.workers:
        calls = calls_of(worker, shift)
        for call, lane in zip(calls.tolist(), _lanes(worker, calls), strict=True):
            begin, end = _us(record, call[CALL_BEGIN_NS]), _us(record, call[CALL_END_NS])
            found[call[CALL_SEQUENCE], call[CALL_NUMBER]] = _thread(worker.index, lane), begin, end
    return found


def _sent(record: RunRecord, track: Track, shift: int) -> MessagePlaces:
    """Return the moments when a generator filter has sent messages with numbers of its own, within its slices."""
    found: MessagePlaces = {}
    for worker in track.workers:
        calls = calls_of(worker, shift)
        for row in sent_of(worker, shift).tolist():
            before = int(np.searchsorted(calls[:, CALL_BEGIN_NS], row[CALL_BEGIN_NS], "right")) - 1
            if before < 0 or (shift and calls[before, CALL_END_NS] < row[CALL_BEGIN_NS]):
                continue  # the call that has sent it is not in the sample
            begin, end = (_us(record, calls[before, column]) for column in (CALL_BEGIN_NS, CALL_END_NS))
            at = min(_us(record, row[CALL_BEGIN_NS]), _near_end(begin, end))
            found[row[CALL_SEQUENCE], row[CALL_NUMBER]] = _thread(worker.index), at, at
    return found


def _arrows(
    record: RunRecord, edge: GraphEdge, giver: Track, reader: Track, shift: int, numbers: Iterator[int]
) -> Iterator[TraceEvent]:
    """Return an arrow for each message of the sample that went over an edge."""
    there = _taken(record, reader, shift)
    for here in (_sent(record, giver, shift), _taken(record, giver, shift)):
        for (sequence, message), (thread, begin, end) in here.items():
            found = there.get((edge.renamed.get(sequence, sequence), message))
            if found is None:
                continue
            other, reached, _ = found
            # A reader may have its message, and be done with it, before the giver's call ends.
            leaves = min(_near_end(begin, end), max(begin, reached))
            common = {"cat": "items", "id": next(numbers)}
            yield {**_event("s", "item", giver.process, thread), **common, "ts": leaves}
            yield {**_event("f", "item", reader.process, other), **common, "ts": max(reached, leaves), "bp": "e"}


def _counters(record: RunRecord, process: int, limit_bytes: int) -> Iterator[TraceEvent]:
    """Return the counter of shared memory."""
    at, nbytes = memory_over_time(record)
    if limit_bytes and len(at):
        yield _named("process_name", process, 0, "shared memory")
        yield _sorted("process_sort_index", process, 0, 0)
        last = -1.0
        for time, value in zip(at.tolist(), nbytes.tolist(), strict=True):
            if value != last:
                yield {**_event("C", "in use", process, 0), "ts": _us(record, time), "args": {"bytes": int(value)}}
                last = value
