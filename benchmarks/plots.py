"""Plots of the results, one SVG for each scenario: a row of points for each case, pardata's in colour; and one of now
and earlier.

Points, not bars, as the axes are logarithmic: the figures differ by factors of up to a thousand. The line through a
point is the range of the rounds. matplotlib is imported only here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import number
from benchmarks.results import Results

OURS, OURS_TOO, OTHERS, LIMIT = "#c8502d", "#e0a48f", "#8b98a5", "#3d4852"
ROW_INCHES, TITLE_INCHES, WIDTH_INCHES = 0.22, 0.75, 8.0


def draw(results: Results, names: list[str], path: Path) -> None:
    """Write the plot of some cases; the same results give the same bytes."""
    pyplot = _pyplot()
    names = [name for name in names if _sides(results, name)]  # no growth at all has no place on a logarithmic axis
    heights = [TITLE_INCHES + ROW_INCHES * len(_sides(results, name)) for name in names]
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
    _save(pyplot, figure, path)


def draw_earlier(factors: list[tuple[str, float, float]], path: Path) -> None:
    """Write the plot of what each case takes of the time, and of the CPU time, that an earlier pardata took."""
    from matplotlib import ticker

    pyplot = _pyplot()
    size = (WIDTH_INCHES, TITLE_INCHES + ROW_INCHES * len(factors))
    figure, axis = pyplot.subplots(figsize=size, layout="constrained")
    rows = range(len(factors))[::-1]
    axis.axvline(1, color=LIMIT, linewidth=1)
    for row, (_, seconds, cpu) in zip(rows, factors, strict=True):
        axis.plot([seconds, cpu], [row, row], color="#d5dade", linewidth=2.2, zorder=1)
        axis.plot([cpu], [row], "o", color=OURS_TOO, markersize=5, label="CPU time per item" if not row else None)
        axis.plot([seconds], [row], "o", color=OURS, markersize=6, label="time" if not row else None)
    axis.set_xscale("log")
    axis.set_ylim(-0.7, len(factors) - 0.3)
    axis.set_yticks(rows, [name for name, _, _ in factors])
    axis.grid(axis="both", color="#e3e7eb", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 1.5, 2, 3, 5, 7), numticks=9))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.2g} x")
    axis.minorticks_off()
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.legend(loc="upper right", frameon=False)
    axis.set_title("now, of what pardata took at f60c095 (less is better)", loc="left", fontsize=9, fontweight="bold")
    _save(pyplot, figure, path)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "pardata", "font.size": 9, "svg.fonttype": "path"})
    from matplotlib import pyplot

    return pyplot


def _save(pyplot: Any, figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")
    pyplot.close(figure)


def _sides(results: Results, name: str) -> list[str]:
    """Those with a result, the best first."""
    sides = [side for side in results.cases[name]["rounds"] if results.median(name, side)]
    return sorted(sides, key=lambda side: results.median(name, side) or 0.0, reverse=results.more_is_better(name))


def _draw_case(results: Results, name: str, axis: Any) -> None:
    from matplotlib import ticker

    case, sides = results.cases[name], _sides(results, name)
    unit, rows = case["unit"], range(len(sides))[::-1]
    lows, highs = [], []
    for row, side in zip(rows, sides, strict=True):
        values, colour = results.values(name, side), _colour(side)
        middle = results.median(name, side) or 0.0
        lows.append(min(value for value in values if value > 0))
        highs.append(max(values))
        axis.plot([lows[-1], highs[-1]], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.6)
        axis.plot([middle], [row], "o", color=colour, markersize=6)
        axis.annotate(
            number(middle, unit), (highs[-1], row), (7, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_xscale("log")
    axis.set_xlim(min(lows) / 1.6, max(highs) * 3)
    axis.set_ylim(-0.7, len(sides) - 0.3)
    axis.set_yticks(rows, sides)
    axis.grid(axis="y", color="#e3e7eb", linewidth=0.8)
    axis.set_axisbelow(True)
    subs = (1, 2, 5) if max(highs) / min(lows) < 30 else (1,)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=9))
    axis.xaxis.set_major_formatter(lambda value, _: number(value, unit))
    axis.minorticks_off()
    axis.tick_params(axis="x", labelsize=7)
    axis.tick_params(axis="y", length=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    better = "more is better" if results.more_is_better(name) else "less is better"
    axis.set_title(f"{name}: {case['title']} ({better})", loc="left", fontsize=9, fontweight="bold")


def _colour(side: str) -> str:
    if side == "pardata":
        return OURS
    if side.startswith("pardata"):
        return OURS_TOO
    return LIMIT if side in ("limit", "serial") else OTHERS
