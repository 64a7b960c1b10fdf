"""The parts of a page that show a record: times of stages, calls of workers, memory, latencies. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from pardata.memory.budget import format_bytes
from pardata.runtime.recording import charts
from pardata.runtime.recording.measures import (
    MOST_SLOW,
    Latencies,
    SlowCall,
    lanes_of,
    latencies,
    memory_over_time,
    shares,
    slow_calls,
)
from pardata.runtime.recording.numbers import seconds_text
from pardata.runtime.recording.record import DeathRecord, Floats, RunRecord, WorkerRecord, calls_of, sample_shift
from pardata.runtime.recording.recorder import (
    CALL_BEGIN_NS,
    CALL_COUNT,
    CALL_END_NS,
    CALL_NUMBER,
    CALL_RETRIES,
    CALL_WAITED_NS,
)
from pardata.runtime.recording.style import legend, row, table

_BINS: Final = 120
_MOST_LANES: Final = 16  # of one worker
_MARK: Final = 8.0  # the width of a mark, whatever its call took
_SHOWN_FROM: Final = 0.05  # of the limit: from here on the chart of memory goes up to the limit

TOGETHER: Final = "Items that travel together in one message are one bar, and have its mean."
_FULL: Final = "Calls that are too short to be told apart fill a line: how busy it was is told by the shares of time."
TIMES: Final = legend(
    ("busy", "busy"),
    ("starved", "starved: waits for input"),
    ("blocked", "blocked: waits for a free worker behind or a token"),
    ("memory", "waits for memory"),
    ("other", "not there: starts, or has ended"),
)


def by_stage(record: RunRecord) -> dict[str, list[WorkerRecord]]:
    """Return the workers of each stage."""
    found: dict[str, list[WorkerRecord]] = {}
    for worker in record.workers:
        found.setdefault(worker.stage, []).append(worker)
    return found


def seconds_of(record: RunRecord) -> float:
    """Return how long the run took."""
    return max(1, record.end_ns - record.begin_ns) / 1e9


def _x(record: RunRecord, times: Floats) -> Floats:
    """Return times (ns) as x of a chart."""
    return np.clip((times - record.begin_ns) / max(1, record.end_ns - record.begin_ns), 0, 1) * charts.WIDE


def times(record: RunRecord) -> str:
    """Return how the time of each stage's workers was spent, over the run."""
    rows = []
    for stage, workers in by_stage(record).items():
        parts = shares(workers, record.begin_ns, record.end_ns, _BINS)
        small = f"{len(workers)} workers" if len(workers) > 1 else ""
        rows.append(row(stage, small, charts.areas(parts, 44, f"times of {stage}")))
    axis = row("", "", charts.time_axis(seconds_of(record)))
    return f"<h2>Where the time went</h2>{TIMES}{''.join(rows)}{axis}"


def lanes(record: RunRecord, note: str = TOGETHER) -> str:
    """Return the calls of each worker over the run, and tables of the slow ones and of deaths."""
    shift, slow = sample_shift(record.workers), slow_of(record)
    rows = []
    for stage, workers in by_stage(record).items():
        for worker in workers:
            name = stage if len(workers) == 1 else f"{stage} {worker.index}"
            rows.append(row(name, "", _lane(record, worker, shift, slow), "first" if worker is workers[0] else ""))
    colours = [("busy", "a call"), ("blocked", "its wait for a free worker behind, a token or memory")]
    if slow:
        colours.append(("slow", "a slow call"))
    if record.deaths:
        colours.append(("killed", "the worker died"))
    if any(np.any(calls_of(worker, shift)[:, CALL_RETRIES] > 0) for worker in record.workers):
        colours.append(("retried", "tried again"))
    axis = row("", "", charts.time_axis(seconds_of(record)))
    return (
        f'<h2>Calls of the workers</h2><p class="note">{sample_text(shift, note)} {_FULL}</p>{legend(*colours)}'
        f'<div class="lanes">{"".join(rows)}</div>{axis}{_slow_table(record, slow)}{_retried_table(record, shift)}'
        f"{deaths(record)}"
    )


def sample_text(shift: int, note: str) -> str:
    """Return how many of the calls are shown."""
    if not shift:
        return f"All calls are shown. {note}"
    return (
        f"A uniform sample is shown: 1 of {1 << shift:,} messages, the same ones in every stage; the slowest calls are "
        f"kept all the same. {note}"
    )


def slow_of(record: RunRecord) -> list[SlowCall]:
    """Return the slow calls of all stages, the slowest first."""
    shift = sample_shift(record.workers)
    found = []
    for workers in by_stage(record).values():
        figures = latencies(workers, shift)
        if figures is not None and figures.items > 1:
            found += slow_calls(workers, figures.median, seconds_of(record))
    return sorted(found, key=lambda call: -call.took_s)[:MOST_SLOW]


def _lane(record: RunRecord, worker: WorkerRecord, shift: int, slow: Sequence[SlowCall]) -> str:
    """Return the calls of a worker: in several rows where several were at work at a time."""
    calls = calls_of(worker, shift)
    begins, ends = calls[:, CALL_BEGIN_NS], calls[:, CALL_END_NS]
    at = (
        np.minimum(np.array(lanes_of(begins, ends), int), _MOST_LANES - 1) if worker.lanes > 1 else np.zeros(len(calls))
    )
    count = int(at.max(initial=0)) + 1
    body = []
    for lane in range(count):
        here = calls[at == lane]
        y = lane * charts.LANE + 2.0
        begin, end = _x(record, here[:, CALL_BEGIN_NS]), _x(record, here[:, CALL_END_NS])
        done = _x(record, np.maximum(here[:, CALL_BEGIN_NS], here[:, CALL_END_NS] - here[:, CALL_WAITED_NS]))
        waits = end - done >= 1
        body.append(charts.bars(done[waits], end[waits], y, charts.LANE - 4, "blocked"))
        body.append(charts.bars(begin, done, y, charts.LANE - 4, "busy"))
        again = here[:, CALL_RETRIES] > 0
        marks = np.maximum(done[again], begin[again] + _MARK)
        body.append(charts.bars(begin[again], marks, y - 2, charts.LANE, "retried"))
    for call in slow:
        if (call.stage, call.worker) == (worker.stage, worker.index):
            body.append(
                _bar(record, call.begin_ns, call.end_ns, "slow", f"{items_text(call)}: {seconds_text(call.took_s)}")
            )
    for death in record.deaths:
        if (death.stage, death.index) == (worker.stage, worker.index):
            begun = death.begun_ns if death.number is not None else death.at_ns
            body.append(_bar(record, begun, death.at_ns, "killed", _death_text(death)))
    return charts.stretched("".join(body), count * charts.LANE, "", f"calls of {worker.stage} {worker.index}")


def _bar(record: RunRecord, begin_ns: int, end_ns: int, kind: str, title: str) -> str:
    left, right = _x(record, np.array([float(begin_ns), float(end_ns)]))
    left, width = min(left, charts.WIDE - _MARK), max(right - left, _MARK)
    return (
        f'<rect class="{kind}" x="{left:.0f}" y="0" width="{width:.0f}" height="{charts.LANE}">'
        f"<title>{escape(title)}</title></rect>"
    )


def items_text(call: SlowCall) -> str:
    """Return which items a call was for."""
    return _items_text(call.number, call.count)


def _items_text(number: int, count: int) -> str:
    return f"item {number}" if count <= 1 else f"items {number} to {number + count - 1}"


def _slow_table(record: RunRecord, slow: Sequence[SlowCall]) -> str:
    if not slow:
        return ""
    rows = [
        [
            escape(call.stage),
            items_text(call),
            f'<td class="number">{seconds_text(call.took_s)}{" each" if call.count > 1 else ""}</td>',
            f'<td class="number">{seconds_text(max(0, call.begin_ns - record.begin_ns) / 1e9)}</td>',
            str(call.worker),
        ]
        for call in slow
    ]
    return f"<h2>Slow calls</h2>{table(['stage', 'for', 'took', 'began at', 'worker'], rows, 'fit')}"


def _retried_table(record: RunRecord, shift: int) -> str:
    found = [
        (int(call[CALL_BEGIN_NS]), worker, call)
        for worker in record.workers
        for call in calls_of(worker, shift)
        if call[CALL_RETRIES] > 0
    ]
    if not found:
        return ""
    rows = [
        [
            escape(worker.stage),
            _items_text(int(call[CALL_NUMBER]), int(call[CALL_COUNT])),
            str(call[CALL_RETRIES]),
            f'<td class="number">{seconds_text(max(0, begin_ns - record.begin_ns) / 1e9)}</td>',
            str(worker.index),
        ]
        for begin_ns, worker, call in sorted(found, key=lambda each: each[0])[:MOST_SLOW]
    ]
    first = f'<p class="note">The first {MOST_SLOW} of {len(found):,}.</p>' if len(found) > MOST_SLOW else ""
    made = table(["stage", "for", "times", "began at", "worker"], rows, "fit")
    return f"<h2>Calls that were tried again</h2>{first}{made}"


def _death_text(death: DeathRecord) -> str:
    at = "between two" if death.number is None else f"at {death.kind} {death.number}"
    return f"worker {death.index} of {death.stage} died {at}: {death.how}"


def deaths(record: RunRecord) -> str:
    """Return a table of the workers that died."""
    if not record.deaths:
        return ""
    rows = [
        [
            escape(death.stage),
            str(death.index),
            "none" if death.number is None else f"{death.kind} {death.number}",
            f'<td class="number">{seconds_text(max(0, death.at_ns - record.begin_ns) / 1e9)}</td>',
            f'<td class="left">{escape(death.how)}</td>',
        ]
        for death in record.deaths
    ]
    heads = ["stage", "worker", "at work on", "died at", '<th class="left">how</th>']
    return f"<h2>Deaths of workers</h2>{table(heads, rows, 'fit')}"


def memory(record: RunRecord, limit_bytes: int) -> str:
    """Return the shared memory over the run, against the limit."""
    at, nbytes = memory_over_time(record)
    if not len(at) or not limit_bytes:
        return ""
    peak = float(nbytes.max())
    part = peak / limit_bytes
    is_near = part >= _SHOWN_FROM
    top = max(limit_bytes, peak) * 1.04 if is_near else max(1.0, peak * 1.1)
    line = f'<path class="limit" d="M0 {90 * (1 - limit_bytes / top):.1f}H{charts.WIDE}"/>' if is_near else ""
    chart = charts.stretched(charts.steps(_x(record, at), nbytes, top, 90) + line, 90, "", "shared memory")
    red = "; the red line is the limit" if is_near else ""
    share = f"{part:.1%}" if part >= 0.001 else "less than 0.1%"
    told = f"At most {format_bytes(peak)}, tables and channels included: {share} of the limit of "
    small = f"peak {format_bytes(peak)}"
    return (
        f'<h2>Shared memory</h2><p class="note">{told}{format_bytes(limit_bytes)}{red}. Each worker notes its own '
        f"between messages.</p>{row('in use', small, chart)}{row('', '', charts.time_axis(seconds_of(record)))}"
    )


def latency_cards(record: RunRecord, what: str = "an item in its stage, without waits") -> str:
    """Return a histogram of the latencies of each stage; `what`: that which takes so many seconds."""
    shift = sample_shift(record.workers)
    found = [(stage, latencies(workers, shift)) for stage, workers in by_stage(record).items()]
    cards = "".join(_card(stage, figures) for stage, figures in found if figures is not None)
    if not cards:
        return ""
    note = f"Seconds of {what}. The axis is logarithmic."
    return f'<h2>Latencies</h2><p class="note">{note}</p><div class="cards">{cards}</div>'


def _card(stage: str, figures: Latencies) -> str:
    marks = [("median", figures.median), ("p95", figures.p95), ("p99", figures.p99)]
    chart = charts.histogram(figures.counts, marks, figures.edges, 70, f"latencies of {stage}")
    told = ", ".join(f"{name} {seconds_text(value)}" for name, value in marks)
    items = f"{figures.items:,} item{'s' * (figures.items != 1)}"
    low, high = seconds_text(float(figures.edges[0])), seconds_text(float(figures.edges[-1]))
    return (
        f'<div class="card"><h3>{escape(stage)}</h3>{chart}<div class="axis"><span style="left:0">{low}</span>'
        f'<span class="end" style="left:100%">{high}</span></div><p class="soft">{told}, longest '
        f"{seconds_text(figures.longest)} ({items})</p></div>"
    )
