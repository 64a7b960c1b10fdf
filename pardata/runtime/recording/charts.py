"""Charts as SVG that is stretched to the width of the page; all text stands beside it, in HTML. Pure.

An x is a part of the run's time, as a number from 0 to `WIDE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np

from pardata.runtime.recording.measures import PARTS
from pardata.runtime.recording.numbers import seconds_text, tick_text, ticks
from pardata.runtime.recording.record import Floats

WIDE: Final = 4000
_THINNEST: Final = 3  # of a bar, and of a gap between two
LANE: Final = 14  # px


def stretched(body: str, height: int, kind: str = "", label: str = "") -> str:
    """Return an SVG as wide as its surroundings and so many px high."""
    return (
        f'<svg class="chart {kind}" viewBox="0 0 {WIDE} {height}" height="{height}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(label)}">{body}</svg>'
    )


def areas(shares: Floats, height: int, label: str) -> str:
    """Return stacked areas: the first of `PARTS` at the bottom."""
    bins = len(shares)
    edges = np.round(np.linspace(0, WIDE, bins + 1)).astype(int).tolist()
    below = np.zeros(bins)
    body = []
    for part, name in enumerate(PARTS):
        above = below + shares[:, part]
        if np.any(above > below + 1e-4):
            body.append(f'<path class="{name}" d="{_band(edges, height * (1 - below), height * (1 - above))}"/>')
        below = above
    return stretched("".join(body), height, "areas", label)


def _band(edges: Sequence[int], low: Floats, high: Floats) -> str:
    """Return the path between two staircases: over the upper one to the right, and back under the lower one."""
    there = "".join(f"V{y:.1f}H{edges[at + 1]}" for at, y in enumerate(high))
    back = "".join(f"V{low[at]:.1f}H{edges[at]}" for at in range(len(low) - 1, -1, -1))
    return f"M{edges[0]} {low[0]:.1f}{there}{back}z"


def bars(begins: Floats, ends: Floats, y: float, height: float, kind: str) -> str:
    """Return bars at one height as a single path; those with no visible gap between them are one."""
    if not len(begins):
        return ""
    left, right = np.round(begins).astype(int), np.round(ends).astype(int)
    right = np.maximum(right, left + _THINNEST)
    path, open_left, open_right = [], int(left[0]), int(right[0])
    for start, end in zip(left[1:].tolist(), right[1:].tolist(), strict=True):
        if start - open_right < _THINNEST:
            open_right = max(open_right, end)
        else:
            path.append(f"M{open_left} {y:g}h{open_right - open_left}v{height:g}h{open_left - open_right}z")
            open_left, open_right = start, end
    path.append(f"M{open_left} {y:g}h{open_right - open_left}v{height:g}h{open_left - open_right}z")
    return f'<path class="{kind}" d="{"".join(path)}"/>'


def steps(times: Floats, values: Floats, top: float, height: int) -> str:
    """Return the area under a staircase; `times` are x, and values from 0 to `top`."""
    if not len(times):
        return ""
    x = np.clip(np.round(times), 0, WIDE).astype(int)
    highest: dict[int, float] = {}
    for at, value in zip(x.tolist(), values.tolist(), strict=True):
        highest[at] = max(value, highest.get(at, 0.0))
    path = "".join(f"H{at}V{height * (1 - value / top):.1f}" for at, value in highest.items())
    return f'<path class="memory-use" d="M{int(x[0])} {height}{path}H{WIDE}V{height}z"/>'


def time_axis(seconds: float) -> str:
    """Return the labels of the axis of time."""
    found = ticks(seconds)
    labels = "".join(
        f'<span{_at_end(at, seconds)} style="left:{100 * at / seconds if seconds else 0:.2f}%">'
        f"{tick_text(at, found[-1])}</span>"
        for at in found
    )
    return f'<div class="axis">{labels}</div>'


def _at_end(at: float, seconds: float) -> str:
    """Return what keeps the label of a tick at the right end within the page."""
    return ' class="end"' if at > 0.93 * seconds > 0 else ""


def histogram(counts: Floats, marks: Sequence[tuple[str, float]], edges: Floats, height: int, label: str) -> str:
    """Return a histogram over a logarithmic axis, with lines at the marks (kind, seconds)."""
    most = float(counts.max()) or 1.0
    step = WIDE / len(counts)
    body = [
        f'<rect class="busy" x="{at * step + 6:.0f}" y="{height * (1 - count / most):.1f}" width="{step - 12:.0f}" '
        f'height="{height * count / most:.1f}"><title>{seconds_text(edges[at])} to {seconds_text(edges[at + 1])}: '
        f"{count:,.0f}</title></rect>"
        for at, count in enumerate(counts)
        if count
    ]
    low, high = np.log(edges[0]), np.log(edges[-1])
    for kind, seconds in marks:
        x = WIDE * (np.log(seconds) - low) / (high - low)
        body.append(f'<path class="mark {kind}" d="M{x:.0f} 0V{height}"/>')
    return stretched("".join(body), height, "histogram", label)
