"""A record as a trace in the format of Chromium's tracing, which Perfetto reads as well. Pure.

A process per stage and a thread per worker; where calls overlap, a thread per call that is at work. Times are in µs.

Source: Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from pardata.runtime.recording.measures import lanes_of, memory_over_time
from pardata.runtime.recording.record import RunRecord, Surroundings, WorkerRecord, calls_of, sample_shift, sent_of
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_BYTES,
    CALL_COUNT,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_RETRIES,
    CALL_SEQUENCE,
    CALL_WAITED_NS,
)

TraceEvent = dict[str, Any]
_LANES: Final = 1000  # threads of one worker
_MEMORY: Final = 0  # the process of the counters
_BEFORE_END: Final = 0.999  # of a slice: where an arrow leaves it, so that it is within

Slices = dict[tuple[str, int, int], tuple[int, int, float, float]]  # stage and message: process, thread, begin, end


def as_trace(around: Surroundings) -> str:
    """Return the trace as JSON."""
    record = around.record
    assert record is not None
    events = [*_counters(record, around.limit_bytes)]
    shift = sample_shift(record.workers)
    stages = {name: index + 1 for index, name in enumerate(dict.fromkeys(w.stage for w in record.workers))}
    taken: Slices = {}
    sent: Slices = {}
    for name, process in stages.items():
        events += [_named("process_name", process, 0, name), _sorted("process_sort_index", process, 0, process)]
    for worker in record.workers:
        events += _calls(record, worker, stages[worker.stage], shift, taken, sent)
    for death in record.deaths:
        event = _event("i", f"worker died: {death.how}", stages[death.stage], death.index * _LANES)
        events.append({**event, "ts": _us(record, death.at_ns), "s": "t", "args": {"item": death.number}})
    events += _arrows(around, taken, sent)
    told = {"shown": f"1 of {1 << shift} messages"}
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": told}, separators=(",", ":"))


def _us(record: RunRecord, at_ns: float) -> float:
    return round((float(at_ns) - record.begin_ns) / 1e3, 3)


def _event(kind: str, name: str, process: int, thread: int) -> TraceEvent:
    return {"ph": kind, "name": name, "pid": process, "tid": thread}


def _named(what: str, process: int, thread: int, name: str) -> TraceEvent:
    return {**_event("M", what, process, thread), "args": {"name": name}}


def _sorted(what: str, process: int, thread: int, place: int) -> TraceEvent:
    return {**_event("M", what, process, thread), "args": {"sort_index": place}}


def _calls(
    record: RunRecord, worker: WorkerRecord, process: int, shift: int, taken: Slices, sent: Slices
) -> Iterator[TraceEvent]:
    """Return the slices of a worker; note where the messages are that it has taken and sent."""
    calls, stage = calls_of(worker, shift), worker.stage
    lanes = lanes_of(calls[:, CALL_BEGIN_NS], calls[:, CALL_END_NS]) if worker.lanes > 1 else [0] * len(calls)
    for lane in dict.fromkeys([0, *lanes]):
        thread = worker.index * _LANES + lane
        name = f"{stage} {worker.index}" + (f", call {lane}" if worker.lanes > 1 else "")
        yield _named("thread_name", process, thread, name)
        yield _sorted("thread_sort_index", process, thread, thread)
    for call, lane in zip(calls.tolist(), lanes, strict=True):
        number, count, thread = call[CALL_NUMBER], call[CALL_COUNT], worker.index * _LANES + lane
        name = f"item {number}" if count == 1 else f"items {number} to {number + count - 1}"
        begin, end = _us(record, call[CALL_BEGIN_NS]), _us(record, call[CALL_END_NS])
        told = {"waited_us": call[CALL_WAITED_NS] / 1e3, "bytes": call[CALL_BYTES]}
        if call[CALL_RETRIES]:
            told["retries"] = call[CALL_RETRIES]
        yield {**_event("X", name, process, thread), "ts": begin, "dur": round(end - begin, 3), "args": told}
        taken[stage, call[CALL_SEQUENCE], number] = process, thread, begin, end
    rows = sent_of(worker, shift).tolist()
    for row in rows:
        at = _us(record, row[CALL_BEGIN_NS])
        sent[stage, row[CALL_SEQUENCE], row[CALL_NUMBER]] = process, worker.index * _LANES, at, at


def _arrows(around: Surroundings, taken: Slices, sent: Slices) -> Iterator[TraceEvent]:
    """Return an arrow for each message of the sample and each edge on which it went."""
    number = 0
    for edge in around.edges:
        for (stage, sequence, message), (process, thread, begin, end) in [*sent.items(), *taken.items()]:
            if stage != edge.giver:
                continue
            found = taken.get((edge.reader, edge.renamed.get(sequence, sequence), message))
            if found is None:
                continue
            number += 1
            there, other, reached, _ = found
            leaves = round(begin + _BEFORE_END * (end - begin), 3)
            common = {"cat": "items", "id": number}
            yield {**_event("s", "item", process, thread), **common, "ts": leaves}
            yield {**_event("f", "item", there, other), **common, "ts": max(reached, leaves), "bp": "e"}


def _counters(record: RunRecord, limit_bytes: int) -> Iterator[TraceEvent]:
    """Return the counter of shared memory."""
    at, nbytes = memory_over_time(record)
    if limit_bytes and len(at):
        yield _named("process_name", _MEMORY, 0, "shared memory")
        last = -1.0
        for time, value in zip(at.tolist(), nbytes.tolist(), strict=True):
            if value != last:
                yield {**_event("C", "in use", _MEMORY, 0), "ts": _us(record, time), "args": {"bytes": int(value)}}
                last = value
