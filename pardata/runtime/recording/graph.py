"""The graph of a run as SVG, with rates on its edges: from left to right, or from the top down. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from pardata.runtime.recording.record import GraphEdge

_LETTER: Final = 7.4  # px, of the font at 13 px
_BOX_HEIGHT: Final = 44
_LABEL_WIDTH: Final = 92  # of the rates on an edge
_STRAIGHT: Final = 68  # of that an edge goes straight before it bends
_GAP_ACROSS: Final = 26
_GAP_DOWN: Final = 46
_MARGIN: Final = 4
_LONGEST: Final = 22  # letters of a name


class Box(NamedTuple):
    """A stage in the picture: two lines of text, and whether it holds up the rest."""

    title: str
    line: str
    is_slowest: bool


class _Grid(NamedTuple):
    """The places of all, in columns (how far from the sources) and rows: stages, and edges that pass a column."""

    stages: dict[str, tuple[int, float]]
    passes: dict[tuple[GraphEdge, int], float]
    columns: int
    rows: int


def graph(
    boxes: Mapping[str, Box], edges: Sequence[GraphEdge], rates: Mapping[str, tuple[str, str]], is_across: bool
) -> str:
    """Return the graph; `rates`: per stage the two lines beside the edges that leave it."""
    grid, width = _grid(boxes, edges), _widest(boxes)
    cell_x = width + (_LABEL_WIDTH + 14 if is_across else _GAP_ACROSS)
    cell_y = _BOX_HEIGHT + (_GAP_ACROSS if is_across else _GAP_DOWN)
    top = _MARGIN + (14 if is_across else 0)  # for the rates above an edge

    def place(column: float, row: float) -> tuple[float, float]:
        across, down = (column, row) if is_across else (row, column)
        return _MARGIN + across * cell_x, top + down * cell_y

    across, down = (grid.columns, grid.rows) if is_across else (grid.rows, grid.columns)
    last_label = 0 if is_across else max(0, _LABEL_WIDTH - width / 2)
    right = 2 * _MARGIN + (across - 1) * cell_x + width + last_label
    bottom = top + _MARGIN + (down - 1) * cell_y + _BOX_HEIGHT
    curves = []
    for edge in edges:
        (first, _), (last, _) = grid.stages[edge.giver], grid.stages[edge.reader]
        passed = [place(column, grid.passes[edge, column]) for column in range(first + 1, last)]
        ends = place(*grid.stages[edge.giver]), place(*grid.stages[edge.reader])
        curves.append(_curve(ends[0], passed, ends[1], width, is_across))
    givers = dict.fromkeys(edge.giver for edge in edges)
    labels = [_label(place(*grid.stages[giver]), width, rates[giver], is_across) for giver in givers]
    drawn = [_box(place(*grid.stages[name]), box, width) for name, box in boxes.items()]
    kind = "across" if is_across else "down"
    return (
        f'<svg class="graph {kind}" viewBox="0 0 {right:.0f} {bottom:.0f}" style="max-width:{right:.0f}px" '
        f'role="img" aria-label="the stages and the rates between them">{"".join([*curves, *drawn, *labels])}</svg>'
    )


def graph_width(boxes: Mapping[str, Box], edges: Sequence[GraphEdge]) -> float:
    """Return the pixels that the graph takes from left to right."""
    return _grid(boxes, edges).columns * (_widest(boxes) + _LABEL_WIDTH + 14)


def _grid(boxes: Mapping[str, Box], edges: Sequence[GraphEdge]) -> _Grid:
    """Place each stage behind those that it reads, near their rows; an edge over several columns has a row in each."""
    depth: dict[str, int] = {}
    for name in boxes:  # each is behind those that it reads
        depth[name] = 1 + max((depth.get(edge.giver, -1) for edge in edges if edge.reader == name), default=-1)
    columns: list[list[str | GraphEdge]] = [[] for _ in range(1 + max(depth.values(), default=0))]
    for name in boxes:
        columns[depth[name]].append(name)
    for edge in edges:
        for column in range(depth[edge.giver] + 1, depth[edge.reader]):
            columns[column].append(edge)
    rows: dict[str, float] = {}
    passes: dict[tuple[GraphEdge, int], float] = {}
    most = max(map(len, columns))

    def wish(entry: str | GraphEdge, column: int) -> float:
        if isinstance(entry, GraphEdge):
            return passes.get((entry, column - 1), rows.get(entry.giver, 0.0))
        givers = [passes.get((edge, column - 1), rows.get(edge.giver, 0.0)) for edge in edges if edge.reader == entry]
        return sum(givers) / len(givers) if givers else 0.0

    for column, entries in enumerate(columns):
        entries.sort(key=lambda entry: wish(entry, column))
        for index, entry in enumerate(entries):
            row = index + (most - len(entries)) / 2
            if isinstance(entry, GraphEdge):
                passes[entry, column] = row
            else:
                rows[entry] = row
    return _Grid({name: (depth[name], rows[name]) for name in boxes}, passes, len(columns), most)


def _widest(boxes: Mapping[str, Box]) -> float:
    return max(map(_width, boxes.values()), default=0.0)


def _width(box: Box) -> float:
    return 22 + _LETTER * max(len(_short(box.title)), len(box.line))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _curve(
    start: tuple[float, float],
    passed: Sequence[tuple[float, float]],
    end: tuple[float, float],
    width: float,
    is_across: bool,
) -> str:
    """Return an edge: straight past its rates and the stages of other columns, and bent between the columns."""
    along, beside = (0, 1) if is_across else (1, 0)
    depth, half = (width, _BOX_HEIGHT / 2) if is_across else (_BOX_HEIGHT, width / 2)
    at, side = start[along] + depth, start[beside] + half
    path = f"M{_point(at, side, is_across)}"
    for spot in [*passed, end]:
        to, to_side = spot[along], spot[beside] + half
        if is_across and to_side != side:
            at += _STRAIGHT
            path += f"L{_point(at, side, is_across)}"
        bends = ((at + to) / 2, side), ((at + to) / 2, to_side), (to, to_side)
        path += "C" + " ".join(_point(*bend, is_across) for bend in bends)
        at, side = to + depth, to_side
        if spot is not end:
            path += f"L{_point(at, side, is_across)}"
    tip = at - depth
    head = [(tip - 7, side - 4), (tip - 1, side), (tip - 7, side + 4)]
    path += "M" + "L".join(_point(*corner, is_across) for corner in head)
    return f'<path class="edge" d="{path}"/>'


def _point(along: float, beside: float, is_across: bool) -> str:
    return f"{along:.1f} {beside:.1f}" if is_across else f"{beside:.1f} {along:.1f}"


def _label(place: tuple[float, float], width: float, rate: tuple[str, str], is_across: bool) -> str:
    """Return the rates of what leaves a stage, above and below its edge, or beside it."""
    x, y = place
    if is_across:
        x, lines = x + width + 9, (y + _BOX_HEIGHT / 2 - 6, y + _BOX_HEIGHT / 2 + 15)
    else:
        x, lines = x + width / 2 + 8, (y + _BOX_HEIGHT + 16, y + _BOX_HEIGHT + 30)
    return "".join(
        f'<text class="rate halo" x="{x:.1f}" y="{at:.1f}">{escape(text)}</text>'
        for at, text in zip(lines, rate, strict=True)
    )


def _box(place: tuple[float, float], box: Box, width: float) -> str:
    x, y = place
    kind = "box slowest" if box.is_slowest else "box"
    return (
        f'<g><title>{escape(box.title)}</title><rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{_BOX_HEIGHT}" rx="7"/><text class="name" x="{x + width / 2:.1f}" y="{y + 19:.1f}" '
        f'text-anchor="middle">{escape(_short(box.title))}</text><text class="rate" x="{x + width / 2:.1f}" '
        f'y="{y + 35:.1f}" text-anchor="middle">{escape(box.line)}</text></g>'
    )
