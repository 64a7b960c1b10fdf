"""A report as HTML, as a notebook shows it. Pure: counts in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from pardata.memory.budget import format_bytes
from pardata.runtime.node_statistics import NodeStatistics, counts_of

# Blue, grey, orange and light grey of one lightness each: they differ without colours too, on white and on black.
_PARTS: Final = {"busy": "#2f6fb3", "starved": "#b9c4cf", "blocked": "#e0943a", "ended": "#8a8f96"}
_BAR_PX: Final = 160
_CELL: Final = "padding:2px 8px;text-align:right"
_NAME: Final = "padding:2px 8px;text-align:left"


def as_html(report: Any, most_skipped: int) -> str:
    """Return a `RunReport` as a table with a row per stage, and the first `most_skipped` of its skipped items."""
    heads = ["workers", "items", "dropped", "failed", "restarts", "sent"]
    used = [head for head in heads if head not in ("dropped", "failed", "restarts") or _any(report.stages, head)]
    first = "".join(f'<th style="{_CELL}">{head}</th>' for head in used)
    legend = ", ".join(f'<span style="color:{colour}">&#9632;</span> {part}' for part, colour in _PARTS.items())
    rows = "".join(_row(stage, used, stage.name == report.bottleneck) for stage in report.stages)
    told = f"{report.seconds:.2f} s; bottleneck: <b>{escape(report.bottleneck or 'none')}</b>"
    return (
        f'<table style="border-collapse:collapse;color:inherit"><thead><tr><th style="{_NAME}">stage</th>{first}'
        f'<th style="{_NAME}">{legend}</th></tr></thead><tbody>{rows}</tbody></table>{_nodes(report.nodes)}'
        f"<div>{told}</div>{_skipped(report, most_skipped)}"
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
    values = [format_bytes(stage.bytes) if head == "sent" else str(getattr(stage, head)) for head in heads]
    cells = "".join(f'<td style="{_CELL}">{value}</td>' for value in values)
    name = f"<b>{escape(stage.name)}</b>" if is_slowest else escape(stage.name)
    return f'<tr><td style="{_NAME}">{name}</td>{cells}<td style="{_NAME}">{_bar(stage)}</td></tr>'


def _bar(stage: Any) -> str:
    """Return the seconds of all workers of a stage as one bar; each part says its own when it is pointed at."""
    seconds = {part: getattr(stage, f"{part}_s") for part in _PARTS}
    whole = sum(seconds.values()) or 1.0
    parts = "".join(
        f'<span title="{part} {value:.2f} s" style="display:inline-block;height:12px;'
        f'width:{_BAR_PX * value / whole:.1f}px;background:{_PARTS[part]}"></span>'
        for part, value in seconds.items()
    )
    return f'<span style="white-space:nowrap">{parts}</span> {seconds["busy"]:.2f} s busy'


def _skipped(report: Any, most: int) -> str:
    if not report.skipped:
        return ""
    lines = [
        f"<li>{escape(skipped.stage)}, item {skipped.number}, {escape(skipped.item)}: {escape(skipped.error)}</li>"
        for skipped in report.skipped[:most]
    ]
    rest = len(report.skipped) - most
    more = f"<li>... and {rest} more</li>" if rest > 0 else ""
    return f"<details><summary>{len(report.skipped)} skipped items</summary><ul>{''.join(lines)}{more}</ul></details>"
