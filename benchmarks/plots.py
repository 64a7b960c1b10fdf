"""Plots of the results, one SVG for each scenario: a row of bars for each case, pardata's in colour.

The axes are logarithmic: what is compared differs by factors of up to a thousand. The thin line is the range of the
rounds. matplotlib is imported only here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import number
from benchmarks.results import Results

OURS, OURS_TOO, OTHERS, LIMIT = "#c8502d", "#e0a48f", "#8b98a5", "#3d4852"
BAR_INCHES, TITLE_INCHES, WIDTH_INCHES = 0.24, 0.75, 8.0


def draw(results: Results, names: list[str], path: Path) -> None:
    """Write the plot of some cases; the same results give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pardata", "font.size": 9, "svg.fonttype": "path"})
    from matplotlib import pyplot

    heights = [TITLE_INCHES + BAR_INCHES * len(_sides(results, name)) for name in names]
    figure, axes = pyplot.subplots(
        len(names),
        1,
        figsize=(WIDTH_INCHES, sum(heights)),
        gridspec_kw={"height_ratios": heights},
        squeeze=False,
        layout="constrained",
    )
    for name, axis in zip(names, axes[:, 0], strict=True):
        _draw_case(results, name, axis)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
    pyplot.close(figure)


def _sides(results: Results, name: str) -> list[str]:
    """Those with a result, the best first."""
    sides = [side for side in results.cases[name]["rounds"] if results.median(name, side)]
    return sorted(sides, key=lambda side: results.median(name, side) or 0.0, reverse=results.more_is_better(name))


def _draw_case(results: Results, name: str, axis: Any) -> None:
    case, sides = results.cases[name], _sides(results, name)
    medians = [results.median(name, side) or 0.0 for side in sides]
    ranges = [(min(values), max(values)) for values in (results.values(name, side) for side in sides)]
    errors = [
        [m - low for m, (low, _) in zip(medians, ranges, strict=True)],
        [high - m for m, (_, high) in zip(medians, ranges, strict=True)],
    ]
    positions = range(len(sides))[::-1]
    axis.barh(positions, medians, 0.7, color=[_colour(side) for side in sides])
    axis.errorbar(medians, positions, xerr=errors, fmt="none", ecolor="black", elinewidth=0.8)
    axis.set_xscale("log")
    axis.set_xlim(min(low for low, _ in ranges) / 2.5, max(high for _, high in ranges) * 4)
    axis.set_yticks(positions, sides)
    for position, median, (_, high) in zip(positions, medians, ranges, strict=True):
        axis.text(high * 1.08, position, number(median, case["unit"]), va="center", fontsize=8)
    better = "more is better" if results.more_is_better(name) else "less is better"
    axis.set_title(f"{name}: {case['title']} ({better})", loc="left", fontsize=9, fontweight="bold")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", labelsize=7)
    axis.minorticks_off()


def _colour(side: str) -> str:
    if side == "pardata":
        return OURS
    if side.startswith("pardata"):
        return OURS_TOO
    return LIMIT if side in ("limit", "serial") else OTHERS
