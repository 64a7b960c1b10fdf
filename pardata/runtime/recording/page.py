"""A report as a page of HTML: one text, which needs nothing else. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any, Final

from pardata.memory.budget import format_bytes
from pardata.runtime.node_statistics import NodeStatistics, counts_of, shown
from pardata.runtime.recording import sections
from pardata.runtime.recording.advice import StageLoad, advice
from pardata.runtime.recording.graph import Box, graph, graph_width
from pardata.runtime.recording.numbers import rate_text, seconds_text
from pardata.runtime.recording.record import RunRecord, Surroundings
from pardata.runtime.recording.recorder import SAMPLE_FOR_MEMORY_NS
from pardata.runtime.recording.style import legend, page, table

_MOST_SKIPPED: Final = 200
_MOST_LETTERS: Final = 20_000  # of a traceback
_WIDEST_ACROSS: Final = 1240  # px of a graph from left to right
_TIMES: Final = ("busy", "starved", "blocked", "other")


def as_page(report: Any) -> str:
    """Return a `RunReport` as a page."""
    return page("pardata run", body_of(report))


def body_of(report: Any) -> str:
    """Return what stands on the page of a `RunReport`."""
    around: Surroundings = report.surroundings
    record = around.record
    parts = [_head(report), _error(around.error), _graph(report), _stages(report), _nodes(report)]
    if record is None:
        parts.append(
            '<h2>More of it</h2><p class="note">This run was not recorded. With <code>run(record=True)</code> the page '
            "also shows the calls of each worker, busy and waiting times and shared memory over the run, slow items, "
            "and the latencies of each stage.</p>"
        )
    else:
        parts += [
            sections.times(record),
            sections.lanes(record),
            sections.memory(record, around.limit_bytes),
            sections.latency_cards(record),
        ]
    parts.append(_skipped(report.skipped))
    return "\n".join(filter(None, parts))


def loads_of(report: Any) -> list[StageLoad]:
    """Return the times of the stages, as advice needs them."""
    single = set(report.surroundings.single)
    waits = _memory_seconds(report.surroundings.record)
    return [
        StageLoad(
            stage.name,
            stage.workers,
            stage.busy_s,
            stage.starved_s,
            stage.blocked_s,
            waits.get(stage.name, 0.0),
            stage.name in single,
            stage.name in report.surroundings.awaiting,
        )
        for stage in report.stages
    ]


def advice_on(report: Any) -> str:
    """Return advice on a run. How many cores its nodes have, if there are any, is not known here."""
    cores = math.inf if report.nodes else report.surroundings.cores
    return advice(loads_of(report), cores, report.surroundings.engine)


def _memory_seconds(record: RunRecord | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for worker in [] if record is None else record.workers:
        if len(worker.recorded.samples):
            waited_s = float(worker.recorded.samples[:, SAMPLE_FOR_MEMORY_NS].max()) / 1e9
            found[worker.stage] = found.get(worker.stage, 0.0) + waited_s
    return found


def _head(report: Any) -> str:
    around: Surroundings = report.surroundings
    workers = sum(stage.workers for stage in report.stages)
    kind = "advice failed" if around.error else "advice"
    failed = " The run has failed: its error is below." if around.error else ""
    return (
        f"<h1>{escape(_title(report)) or 'An empty run'}</h1>"
        f'<p class="soft">{seconds_text(report.seconds)}, {_count(len(report.stages), "stage")}, '
        f"{_count(workers, 'worker')} on {_place(report)}</p>"
        f'<div class="{kind}">{escape(advice_on(report))}{failed}</div>'
    )


def _place(report: Any) -> str:
    around: Surroundings = report.surroundings
    cores = _count(around.cores, "core")
    if report.nodes:
        there = {shown(node.node) for node in report.nodes if not node.is_lost}
        return f"{_count(len(there), 'node')} of a cluster and {cores} here"
    return f"{cores}, " + (f"engine {around.engine}" if around.engine else "engine unknown")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _title(report: Any) -> str:
    """Return the names of the stages; with arrows if they are one after the other."""
    names = [stage.name for stage in report.stages]
    edges = {(edge.giver, edge.reader) for edge in report.surroundings.edges}
    return (" → " if edges == set(pairwise(names)) else ", ").join(_ends(report.stages))


def _ends(stages: Sequence[Any]) -> list[str]:
    """Return the names of the stages, those in the middle left out if there are many."""
    names = [stage.name for stage in stages]
    return names if len(names) <= 6 else [*names[:3], "…", *names[-2:]]


def _graph(report: Any) -> str:
    seconds, edges = report.seconds or 1.0, report.surroundings.edges
    if not report.stages:
        return ""
    boxes = {
        load.name: Box(
            f"{load.name} ×{load.workers}" if load.workers > 1 else load.name,
            f"{load.share(load.busy_s):.0%} busy" if load.busy_s else "idle",
            load.name == report.bottleneck,
        )
        for load in loads_of(report)
    }
    rates = {
        stage.name: (
            f"{rate_text(_left(stage) / seconds)} items/s",
            f"{format_bytes(stage.bytes / seconds)}/s",
        )
        for stage in report.stages
    }
    down = graph(boxes, edges, rates, is_across=False)
    slowest = "; the orange frame marks the busiest stage" if report.bottleneck else ""
    note = f'<p class="note">Mean rates over the whole run{slowest}. Busy: of the time that its workers were there.</p>'
    if graph_width(boxes, edges) > _WIDEST_ACROSS:
        return f"<h2>Stages</h2>{note}{down}"
    across = graph(boxes, edges, rates, is_across=True).replace('class="graph across"', 'class="graph across swaps"', 1)
    narrow = down.replace('class="graph down"', 'class="graph down narrow"', 1)
    return f"<h2>Stages</h2>{note}{across}{narrow}"


def _left(stage: Any) -> float:
    """Return the items that have left a stage."""
    return float(stage.items - stage.dropped - stage.failed)


def _stages(report: Any) -> str:
    used = [head for head in ("dropped", "failed", "restarts") if any(getattr(stage, head) for stage in report.stages)]
    heads = ["stage", "workers", "items", *used, "sent", '<th class="left">time of the workers</th>']
    rows = [
        [
            f"<b>{escape(stage.name)}</b>" if stage.name == report.bottleneck else escape(stage.name),
            *(_number(head, f"{getattr(stage, head):,}") for head in ("workers", "items", *used)),
            _number("sent", format_bytes(stage.bytes)),
            f'<td class="left">{_share(stage)}</td>',
        ]
        for stage in report.stages
    ]
    parts = legend(("busy", "busy"), ("starved", "starved"), ("blocked", "blocked"), ("other", "ended"))
    return f"{parts}{table(heads, rows, 'stages')}" if rows else ""


def _nodes(report: Any) -> str:
    """Return the table of the nodes of a cluster."""
    nodes: Sequence[NodeStatistics] = report.nodes
    if not nodes:
        return ""
    heads = ["node", "messages", "sent", "received", "redone", "lost", '<th class="left">stages</th>']
    rows = [
        [
            escape(each.node),
            *(_number(head, value) for head, value in zip(heads[1:6], counts_of(each), strict=True)),
            f'<td class="left">{escape(each.island)}</td>',
        ]
        for each in nodes
    ]
    recorded = (
        '<p class="note">The times and calls below were recorded here: stages on nodes are busy as long as messages '
        "of theirs are away.</p>"
    )
    return f"<h2>Nodes</h2>{table(heads, rows, 'stages')}{'' if report.surroundings.record is None else recorded}"


def _number(head: str, value: str) -> str:
    """Return a cell that names its column where the table is too narrow for heads."""
    return f'<td class="number" data-head="{head}">{value}</td>'


def _share(stage: Any) -> str:
    """Return the seconds of all workers of a stage as one bar, and in words."""
    seconds = [stage.busy_s, stage.starved_s, stage.blocked_s, stage.ended_s]
    whole = sum(seconds) or 1.0
    bar = "".join(
        f'<i class="{kind}" style="width:{100 * value / whole:.1f}%" title="{kind} {value:.2f} s"></i>'
        for kind, value in zip(_TIMES, seconds, strict=True)
        if value
    )
    return (
        f'<div class="share">{bar}</div><span class="soft">busy {stage.busy_s:.2f} s, starved {stage.starved_s:.2f} s, '
        f"blocked {stage.blocked_s:.2f} s</span>"
    )


def _error(error: str) -> str:
    if not error:
        return ""
    shown = error if len(error) <= _MOST_LETTERS else f"{error[:_MOST_LETTERS]}\n... and {len(error)} letters in all"
    return f"<h2>The error that ended the run</h2><pre>{escape(shown)}</pre>"


def _skipped(skipped: Sequence[Any]) -> str:
    if not skipped:
        return ""
    lines = [
        f"<details><summary><b>{escape(each.stage)}</b>, item {each.number}, {escape(each.item)}: {escape(each.error)}"
        f"</summary><pre>{escape(each.traceback[:_MOST_LETTERS])}</pre></details>"
        for each in skipped[:_MOST_SKIPPED]
    ]
    rest = len(skipped) - _MOST_SKIPPED
    more = f"<p>... and {rest:,} more</p>" if rest > 0 else ""
    return f"<h2>Skipped items: {len(skipped):,}</h2>{''.join(lines)}{more}"
