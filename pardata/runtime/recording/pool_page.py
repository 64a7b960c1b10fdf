"""The report of a pool as a page of HTML. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any, Final, NamedTuple

import numpy as np

from pardata.runtime.recording import charts, sections
from pardata.runtime.recording.numbers import rate_text, seconds_text
from pardata.runtime.recording.record import Chunk, RunRecord, WorkerRecord
from pardata.runtime.recording.recorder import CALL_WORDS, SAMPLE_WORDS, Recorded
from pardata.runtime.recording.style import page, row, table

_MOST_JOBS: Final = 8  # that have a chart: the last ones
_WORTH: Final = 0.1  # of a map's time: an idle tail that is worth a word
_NOTE: Final = "A bar is a task: a chunk of a map, or a call."
_LATENCY: Final = "an item in its task, which loads arguments and sends results as well"


class Tail(NamedTuple):
    """The end of a map, when workers had nothing more to do: the longest wait of one, and the share of all time."""

    seconds: float
    share: float


def idle_tail(chunks: Sequence[Chunk], workers: int) -> Tail:
    """Return the idle tail of one map: from the last end of each worker to the end of the map."""
    begin, end = min(chunk.begin_ns for chunk in chunks), max(chunk.end_ns for chunk in chunks)
    last = {chunk.worker: 0 for chunk in chunks}
    for chunk in chunks:
        last[chunk.worker] = max(last[chunk.worker], chunk.end_ns)
    idle = [end - at for at in last.values()] + [end - begin] * max(0, min(workers, len(chunks)) - len(last))
    whole = max(1, end - begin) * len(idle)
    return Tail(max(idle) / 1e9, sum(idle) / whole)


def pool_advice(statistics: dict[str, Any], tails: dict[str, Tail]) -> str:
    """Return what holds up a pool, with numbers."""
    workers = statistics["workers"]
    work_s, wait_s = (sum(worker[key] for worker in workers) for key in ("work_s", "wait_s"))
    if work_s <= 0:
        return "Nothing was worked on, so there is nothing to advise."
    share = work_s / max(1e-9, work_s + wait_s)
    told = f"The workers worked {share:.0%} of the time since they had started, {seconds_text(work_s)} together."
    name, tail = max(tails.items(), key=lambda item: item[1].seconds, default=("", Tail(0, 0)))
    if tail.share >= _WORTH:
        told += (
            f" At the end of {name} a worker had nothing to do for {seconds_text(tail.seconds)}, {tail.share:.0%} of "
            f'the time of all: smaller chunks at the end, as with chunksize="guided", use it.'
        )
    elif share < 0.5:
        told += " The rest of the time there were no tasks for them: the caller, or the making of items, took it."
    return told


def as_pool_page(report: Any) -> str:
    """Return a `PoolReport` as a page."""
    return page(f"pardata pool {report.name}", pool_body_of(report))


def pool_body_of(report: Any) -> str:
    """Return what stands on the page of a `PoolReport`."""
    record: RunRecord | None = report.surroundings.record
    statistics, jobs = report.statistics, {} if record is None else jobs_of(record)
    tails = {name: idle_tail(chunks, len(statistics["workers"])) for name, chunks in jobs.items() if name != "calls"}
    parts = [
        f"<h1>{escape(report.name) if report.name != 'pool' else 'A pool'}</h1>",
        f'<p class="soft">{seconds_text(statistics["seconds"])}, {len(statistics["workers"])} workers, '
        f"{report.surroundings.cores} cores, {escape(report.surroundings.engine)}</p>",
        f'<div class="advice">{escape(pool_advice(statistics, tails))}</div>',
        f"<h2>Workers</h2>{_workers(report)}",
        _longest(statistics["longest"]),
        _maps(statistics["chunks"]),
    ]
    if record is None:
        parts.append(
            '<h2>More of it</h2><p class="note">This pool was not recorded. With <code>WorkerPool(record=True)</code> '
            "the page also shows each worker's tasks, the sizes of chunks over time, and idle workers at the end.</p>"
        )
    else:
        has_samples = any(len(worker.recorded.samples) for worker in record.workers)
        parts += [
            _sizes(record, jobs, tails),
            sections.lanes(record, _NOTE),
            sections.times(record) if has_samples else "",
            sections.memory(record, report.surroundings.limit_bytes),
            sections.latency_cards(_by_job(record, jobs), _LATENCY),
        ]
    return "\n".join(filter(None, parts))


def jobs_of(record: RunRecord) -> dict[str, list[Chunk]]:
    """Return the tasks of each job by its name, the last jobs only."""
    found: dict[str, list[Chunk]] = {}
    for chunk in record.chunks:
        name = "calls" if chunk.job < 0 else f"{chunk.kind} {chunk.job}"
        found.setdefault(name, []).append(chunk)
    return dict(list(found.items())[-_MOST_JOBS:])


def _workers(report: Any) -> str:
    rows = [
        [
            escape(f"{report.name} {index}"),
            f"{worker['tasks']:.0f}",
            *(f'<td class="number">{seconds_text(worker[key])}</td>' for key in ("start_s", "work_s", "wait_s")),
            f"{worker['deaths']:.0f}",
        ]
        for index, worker in enumerate(report.statistics["workers"])
    ]
    return table(["worker", "tasks", "start", "worked", "waited", "deaths"], rows, "fit")


def _longest(longest: Sequence[tuple[float, str]]) -> str:
    if not longest:
        return ""
    rows = [[escape(what), f'<td class="number">{seconds_text(seconds)}</td>'] for seconds, what in longest]
    return f"<h2>Longest calls</h2>{table(['call', 'took'], rows, 'fit')}"


def _maps(maps: Sequence[dict[str, Any]]) -> str:
    if not maps:
        return ""
    keys = ("policy", "chunks", "smallest", "median", "largest", "given_back")
    rows = [
        [str(index), *(str(each[key]) for key in keys), seconds_text(each["item_s"])] for index, each in enumerate(maps)
    ]
    heads = ["map", "policy", "chunks", "smallest", "median", "largest", "given back", "per item"]
    return f"<h2>Chunks of the last maps</h2>{table(heads, rows, 'fit')}"


def _sizes(record: RunRecord, jobs: dict[str, list[Chunk]], tails: dict[str, Tail]) -> str:
    """Return the sizes of the chunks of each map, over its time, and its idle tail."""
    shown = [(name, chunks) for name, chunks in jobs.items() if name != "calls"]
    if not shown:
        return ""
    rows = []
    for name, chunks in shown:
        begin, end = min(chunk.begin_ns for chunk in chunks), max(chunk.end_ns for chunk in chunks)
        most, height = max(1, *(chunk.done for chunk in chunks)), 54
        scale = charts.WIDE / max(1, end - begin)
        body = "".join(
            charts.bars(
                np.array([(chunk.begin_ns - begin) * scale]), np.array([(chunk.end_ns - begin) * scale]),
                round((height - 5) * (1 - chunk.done / most), 1), 4.0, "killed" if chunk.has_failed else "busy",
            )
            for chunk in chunks[:2000]
        )  # fmt: skip
        items, seconds = sum(chunk.done for chunk in chunks), (end - begin) / 1e9
        small = f"up to {most:,} item{'s' * (most > 1)}; {rate_text(items / max(seconds, 1e-9))} items/s"
        tail = tails[name]
        told = f"idle tail {seconds_text(tail.seconds)}, {tail.share:.1%} of the time of all workers"
        chart = charts.stretched(body, height, "", f"sizes of chunks of {name}") + charts.time_axis(seconds)
        rows.append(row(name, small, f'{chart}<span class="soft">{told}</span>'))
    note = "Each line is a chunk: as long as it took, and as high as it had items. Red ones have failed."
    return f'<h2>Sizes of chunks over time</h2><p class="note">{note}</p>{"".join(rows)}'


def _by_job(record: RunRecord, jobs: dict[str, list[Chunk]]) -> RunRecord:
    """Return the record with a stage for each job, in place of one for each worker."""
    samples = np.zeros((0, SAMPLE_WORDS), np.int64)
    shift = max((worker.recorded.shift for worker in record.workers), default=0)
    workers = []
    for name, chunks in jobs.items():
        calls = np.array([chunk.row() for chunk in chunks], np.int64).reshape(-1, CALL_WORDS)
        workers.append(WorkerRecord(name, 0, Recorded(calls, calls[:0], samples, shift)))
    return replace(record, workers=workers)
