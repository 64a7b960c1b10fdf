"""A report as HTML, as a notebook shows it. Pure: counts in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from pardata.memory.budget import format_bytes
from pardata.runtime.node_statistics import NodeStatistics, counts_of

# Blue, grey, orange and light grey of one lightness each: they differ without colours too, on white and on black.
_PARTS: Final = {"busy": "#2f6fb3", "starved": "#b9c4cf", "blocked": "#e0943a", "ended": "#8a8f96"}
_POOL_PARTS: Final = {"worked": "#2f6fb3", "waited": "#b9c4cf", "start": "#8a8f96"}
_MOST_LETTERS: Final = 20_000  # of a traceback
_BAR_PX: Final = 160
_CELL: Final = "padding:2px 8px;text-align:right"
_NAME: Final = "padding:2px 8px;text-align:left"


def as_html(report: Any, most_skipped: int) -> str:
    """Return a `RunReport` as a table with a row per stage, and the first `most_skipped` of its skipped items."""
    heads = ["workers", "items", "dropped", "failed", "restarts", "sent"]
    used = [head for head in heads if head not in ("dropped", "failed", "restarts") or _any(report.stages, head)]
    rows = [_row(stage, used, stage.name == report.bottleneck) for stage in report.stages]
    told = f"{report.seconds:.2f} s; bottleneck: <b>{escape(report.bottleneck or 'none')}</b>"
    if report.workers:
        chosen = ", ".join(f"{name} {count}" for name, count in report.workers.items())
        told += f"<br>workers=&quot;auto&quot; came to: {escape(chosen)}"
    rest = f"{_error(report.surroundings.error)}{_skipped(report, most_skipped)}"
    return f"{_table('stage', used, _PARTS, rows)}{_nodes(report.nodes)}<div>{told}</div>{rest}"


def as_pool_html(report: Any) -> str:
    """Return a `PoolReport` as a table with a row per worker."""
    rows = []
    for index, worker in enumerate(report.statistics["workers"]):
        seconds = {part: worker[f"{key}_s"] for part, key in zip(_POOL_PARTS, ("work", "wait", "start"), strict=True)}
        cells = "".join(f'<td style="{_CELL}">{worker[head]:,.0f}</td>' for head in ("tasks", "deaths"))
        bar = f'<td style="{_NAME}">{_bar(seconds, _POOL_PARTS)} {seconds["worked"]:.2f} s worked</td>'
        rows.append(f'<tr><td style="{_NAME}">{escape(report.name)} {index}</td>{cells}{bar}</tr>')
    workers = _table("worker", ["tasks", "deaths"], _POOL_PARTS, rows)
    return f"{workers}{_nodes(report.statistics.get('nodes', []))}<div>{report.statistics['seconds']:.2f} s</div>"


def as_link(address: str | None) -> str:
    """Return a link to a dashboard; "" for none."""
    return "" if address is None else f'<div>dashboard: <a href="{address}" target="_blank">{address}</a></div>'


def _table(first: str, heads: Sequence[str], parts: Mapping[str, str], rows: Sequence[str]) -> str:
    """Return a table; its last column is a bar of these parts, by their colours."""
    between = "".join(f'<th style="{_CELL}">{head}</th>' for head in heads)
    legend = ", ".join(f'<span style="color:{colour}">&#9632;</span> {part}' for part, colour in parts.items())
    return (
        f'<table style="border-collapse:collapse;color:inherit"><thead><tr><th style="{_NAME}">{first}</th>{between}'
        f'<th style="{_NAME}">{legend}</th></tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _nodes(nodes: Sequence[NodeStatistics]) -> str:
    if not nodes:
        return ""
    heads = "".join(f'<th style="{_CELL}">{head}</th>' for head in ("messages", "sent", "received", "redone", "lost"))
    rows = "".join(
        f'<tr><td style="{_NAME}">{escape(each.node)}</td>'
        + "".join(f'<td style="{_CELL}">{value}</td>' for value in counts_of(each))
        + "</tr>"
        for each in nodes
    )
    return (
        f'<table style="border-collapse:collapse;color:inherit"><thead><tr><th style="{_NAME}">node</th>{heads}</tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _any(stages: Sequence[Any], head: str) -> bool:
    return any(getattr(stage, head) for stage in stages)


def _row(stage: Any, heads: list[str], is_slowest: bool) -> str:
    values = [format_bytes(stage.bytes) if head == "sent" else f"{getattr(stage, head):,}" for head in heads]
    cells = "".join(f'<td style="{_CELL}">{value}</td>' for value in values)
    name = f"<b>{escape(stage.name)}</b>" if is_slowest else escape(stage.name)
    seconds = {part: getattr(stage, f"{part}_s") for part in _PARTS}
    bar = f"{_bar(seconds, _PARTS)} {seconds['busy']:.2f} s busy"
    return f'<tr><td style="{_NAME}">{name}</td>{cells}<td style="{_NAME}">{bar}</td></tr>'


def _bar(seconds: Mapping[str, float], colours: Mapping[str, str]) -> str:
    """Return the seconds of all workers of a stage as one bar; each part says its own when it is pointed at."""
    whole = sum(seconds.values()) or 1.0
    parts = "".join(
        f'<span title="{part} {value:.2f} s" style="display:inline-block;height:12px;'
        f'width:{_BAR_PX * value / whole:.1f}px;background:{colours[part]}"></span>'
        for part, value in seconds.items()
    )
    return f'<span style="white-space:nowrap">{parts}</span>'


def _error(error: str) -> str:
    if not error:
        return ""
    shown = escape(error[-_MOST_LETTERS:])
    return f"<details><summary>the error that ended the run</summary><pre>{shown}</pre></details>"


def _skipped(report: Any, most: int) -> str:
    if not report.skipped:
        return ""
    lines = [
        f"<li>{escape(skipped.stage)}, item {skipped.number}, {escape(skipped.item)}: {escape(skipped.error)}</li>"
        for skipped in report.skipped[:most]
    ]
    rest = len(report.skipped) - most
    more = f"<li>... and {rest} more</li>" if rest > 0 else ""
    count = f"{len(report.skipped)} skipped item{'s' * (len(report.skipped) > 1)}"
    return f"<details><summary>{count}</summary><ul>{''.join(lines)}{more}</ul></details>"
