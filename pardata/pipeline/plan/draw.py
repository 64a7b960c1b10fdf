"""Pictures of a plan: lanes of text, and an SVG. Pure: strings in, strings out.

A hollow dot, or a box with a broken frame, is a stage that runs on the nodes if the stream runs on a cluster.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field
from html import escape
from typing import Final

from pardata.pipeline.plan.file_writer import FileWriter
from pardata.pipeline.plan.node import JOINS, Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Edge, Stage

# -- text: a line per stage, a lane per edge, as in the graph of a version history -------------------------------------


def as_text(plan: Plan, away: Container[Stage] = ()) -> str:
    """Return the graph from the sources down, one stage per line. `away`: what runs on the nodes of a cluster."""
    lines: list[str] = []
    lanes: list[Stage | None] = []  # the stage to which each lane leads
    for stage in plan.stages:
        taken = [index for index, target in enumerate(lanes) if target is stage]
        column = taken[0] if taken else _free(lanes)
        if len(taken) > 1:
            lines.append(_bar(lanes, column, taken[1:], "╰┴╯"))
        for index in taken:
            lanes[index] = None
        marks = ["│" if target is not None else " " for target in lanes]
        marks[column] = "○" if stage in away else "●"
        lines.append(" ".join(marks).rstrip() + " " + label_of(stage))
        used: list[int] = []
        for reader in dict.fromkeys(stage.consumers):
            used.append(column if not used else _free(lanes))
            lanes[used[-1]] = reader
        if len(used) > 1:
            lines.append(_bar(lanes, column, used[1:], "╭┬╮"))
        while lanes and lanes[-1] is None:
            lanes.pop()
    return "\n".join(lines)


def _free(lanes: list[Stage | None]) -> int:
    """Return a lane that leads nowhere; a new one if there is none."""
    for index, target in enumerate(lanes):
        if target is None:
            return index
    lanes.append(None)
    return len(lanes) - 1


def _bar(lanes: list[Stage | None], column: int, others: list[int], corners: str) -> str:
    """Return the line between two stages on which `others` leave the lane `column`, or come to it."""
    first, last = min(column, *others), max(column, *others)
    line = ""
    for index, target in enumerate(lanes):
        if index == column:
            mark = "├" if index == first else "┤" if index == last else "┼"
        elif index in others:
            mark = corners[0] if index == first else corners[2] if index == last else corners[1]
        elif first < index < last:
            mark = "┼" if target is not None else "─"
        else:
            mark = "│" if target is not None else " "
        line += mark + ("─" if first <= index < last else " ")
    return line.rstrip()


def label_of(stage: Stage) -> str:
    """Return the name of a stage, how many workers it has or that one writes its file, and which branches it reads."""
    workers = " ×auto" if stage.is_auto else f" ×{stage.workers}" if stage.workers > 1 else ""
    if isinstance(stage.fn, FileWriter):
        workers = f" (one {'thread' if stage.node.thread else 'process'} writes)"
    joins = f" of {len(stage.edges)}" if len(stage.edges) > 1 else ""
    policy = f" ({stage.fanin.policy}{joins})" if joins and stage.kind not in JOINS else joins
    branches = ", ".join(_branch_of(edge) for edge in stage.edges if edge.branch is not None)
    return stage.name + workers + policy + (f" ← {branches}" if branches else "")


def _branch_of(edge: Edge) -> str:
    if edge.stage.node.on_error.errors == "stream":
        return f"{edge.stage.name}{'.failed' if edge.branch else ''}"
    return f"{edge.stage.name}[{edge.branch}]"


# -- SVG: a column per distance from the sources -----------------------------------------------------------------------

_LETTER: Final = 8.0  # px, of the monospace font at 13 px
_BOX_HEIGHT: Final = 34
_ROW: Final = 56
_GAP: Final = 56
_MARGIN: Final = 16
_COLOURS: Final = {Kind.SOURCE: "#d7ecd9", Kind.SINK: "#f6dcc8", Kind.ZIP: "#e3ddf3", Kind.MERGE: "#e3ddf3"}
_PLAIN: Final = "#dbe7f5"


@dataclass(eq=False)
class _Place:
    """A stage in the picture, or (without one) a point where a long edge passes a column."""

    column: int
    stage: Stage | None = None
    above: list[_Place] = field(default_factory=list)
    row: float = 0.0
    x: float = 0.0
    y: float = 0.0
    right: float = 0.0  # of its column


def as_svg(plan: Plan, away: Container[Stage] = ()) -> str:
    """Return the graph as an SVG document, from left to right. `away`: as for `as_text`."""
    places, edges = _place(plan)
    columns: list[list[_Place]] = [[] for _ in range(1 + max(place.column for place in places))]
    for place in places:
        columns[place.column].append(place)
    x = float(_MARGIN)
    for column in columns:
        column.sort(key=_wish)
        for row, place in enumerate(column):
            place.row = float(row)
        width = max((_width(place) for place in column), default=0.0)
        for place in column:
            place.x, place.right = x, x + width
        x += width + _GAP
    most = max(map(len, columns))
    for column in columns:
        for place in column:
            place.y = _MARGIN + (place.row + (most - len(column)) / 2) * _ROW
    width, height = x - _GAP + _MARGIN, most * _ROW - (_ROW - _BOX_HEIGHT) + 2 * _MARGIN
    parts = [_curve(edge) for edge in edges] + [_box(place, away) for place in places if place.stage is not None]
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="monospace" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _place(plan: Plan) -> tuple[list[_Place], list[list[_Place]]]:
    """Return a place for every stage and every point that an edge passes, and the edges as rows of places."""
    made: dict[Stage, _Place] = {}
    places: list[_Place] = []
    edges: list[list[_Place]] = []
    for stage in plan.stages:
        givers = [made[edge.stage] for edge in stage.edges]
        place = made[stage] = _Place(1 + max((giver.column for giver in givers), default=-1), stage)
        for giver in givers:
            passed = [_Place(column) for column in range(giver.column + 1, place.column)]
            edge = [giver, *passed, place]
            for before, after in zip(edge, edge[1:], strict=False):
                after.above.append(before)
            places += passed
            edges.append(edge)
        places.append(place)
    return places, edges


def _wish(place: _Place) -> float:
    """Return the row in which a place would be straight behind its inputs."""
    return sum(giver.row for giver in place.above) / len(place.above) if place.above else place.row


def _width(place: _Place) -> float:
    return 0.0 if place.stage is None else 24 + _LETTER * len(label_of(place.stage))


def _curve(edge: list[_Place]) -> str:
    """Return an edge: straight across the columns, where it would run into boxes, and bent between them."""
    middle = _BOX_HEIGHT / 2
    x, y = edge[0].x + _width(edge[0]), edge[0].y + middle
    path = f"M {x:.1f} {y:.1f}"
    for before, place in zip(edge, edge[1:], strict=False):
        below = place.y + middle
        half = (before.right + place.x) / 2
        path += f" H {before.right:.1f} C {half:.1f} {y:.1f} {half:.1f} {below:.1f} {place.x:.1f} {below:.1f}"
        x, y = place.x, below
    tip = f"M {x - 7:.1f} {y - 4:.1f} L {x:.1f} {y:.1f} L {x - 7:.1f} {y + 4:.1f}"
    return f'<path d="{path} {tip}" fill="none" stroke="#667" stroke-width="1.3"/>'


def _box(place: _Place, away: Container[Stage]) -> str:
    assert place.stage is not None
    broken = ' stroke-dasharray="5 3"' if place.stage in away else ""
    colour = _COLOURS.get(place.stage.kind, _PLAIN)
    x, y, width = place.x, place.y, _width(place)
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_BOX_HEIGHT}" rx="7" fill="{colour}" '
        f'stroke="#667"{broken}/><text x="{x + width / 2:.1f}" y="{y + 21.5:.1f}" text-anchor="middle" fill="#223">'
        f"{escape(label_of(place.stage))}</text>"
    )
