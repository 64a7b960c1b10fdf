"""From results to tables, as text for the terminal and as Markdown for the pages. Pure."""

from __future__ import annotations

from benchmarks.bars import ABSOLUTE, Bar, Judgement
from benchmarks.results import Results
from benchmarks.rivals import EARLIER
from benchmarks.scenarios import find

_ALIKE = 0.05  # a side that is better by less is as good
NOISE = 0.1  # the share of the cores that others may have before it is said
Row = tuple[str, ...]


def number(value: float, unit: str) -> str:
    """A figure as a reader wants it: three digits and a unit that suits them."""
    if unit == "items/s":
        return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"
    if unit == "GB/s":
        return f"{value:.3g} GB/s"
    if unit == "%":
        return f"{value:.1f} %"
    if unit == "MB":
        return f"{value:,.0f} MB" if value >= 100 else f"{value:.1f} MB"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{value * factor:,.0f} {name}" if value * factor >= 100 else f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def times(factor: float) -> str:
    """A factor."""
    return f"{factor:,.0f} x" if factor >= 100 else f"{factor:.3g} x"


def case_rows(results: Results, names: list[str]) -> list[Row]:
    """A row for each side of each case, the best first: median, spread, how pardata compares, CPU, memory, rounds."""
    rows: list[Row] = [("case", "side", "median", "spread", "pardata is", "CPU per item", "peak memory", "rounds")]
    for name in names:
        case = results.cases[name]
        sides = [side for side in case["rounds"] if results.median(name, side) is not None]
        sides.sort(key=lambda side: results.median(name, side) or 0.0, reverse=results.more_is_better(name))
        failed = [side for side in case["rounds"] if side not in sides]
        for side in [*sides, *failed]:
            rows.append(
                (f"{name}: {case['title']}" if side == (sides + failed)[0] else "", *_side_row(results, name, side))
            )
        rows += [("", side, "-", "", reason, "", "", "") for side, reason in case["skipped"].items()]
    return rows


def _side_row(results: Results, name: str, side: str) -> Row:
    count = str(len(results.rounds(name, side)))
    value = results.median(name, side)
    if value is None:
        return (side, "failed", "", "", "", "", count)
    unit = results.cases[name]["unit"]
    ours = results.median(name, "pardata")
    peak, cpu_s, items = (results.median(name, side, key) for key in ("peak_bytes", "cpu_s", "items"))
    return (
        side,
        number(value, unit),
        f"±{results.spread(name, side):.0%}",
        _compared(ours, value, results.more_is_better(name)) if side != "pardata" else "",
        number(cpu_s / items, "s") if cpu_s and items else "-",
        number(peak / 1e6, "MB") if peak else "-",
        count,
    )


def _compared(ours: float | None, theirs: float, more: bool) -> str:
    if not ours or not theirs:
        return ""
    faster = ours / theirs if more else theirs / ours
    return f"{times(faster)} better" if faster >= 1 else f"{times(1 / faster)} worse"


def bar_rows(judgements: list[Judgement], results: Results) -> list[Row]:
    """A row for each bar: issue, scenario, limit, measured figure, headroom, verdict."""
    rows: list[Row] = [("issue", "case", "asked", "measured", "asked / measured", "verdict")]
    for judgement in judgements:
        bar = judgement.bar
        unit = str(results.cases[bar.case]["unit"]) if bar.case in results.cases else find(bar.case).unit
        measured = "-" if judgement.measured is None else _figure(bar, judgement.measured, unit)
        headroom = "-" if judgement.headroom is None else times(judgement.headroom)
        rows.append((str(bar.issue), bar.case, _asked(bar, unit), measured, headroom, judgement.verdict))
    return rows


def _figure(bar: Bar, value: float, unit: str) -> str:
    return number(value, unit) if bar.kind in ABSOLUTE else times(value)


def _asked(bar: Bar, unit: str) -> str:
    limit = _figure(bar, bar.limit, unit)
    return {
        "faster than": f">= {limit} faster than {bar.other}",
        "as long as": f"<= {limit} of {bar.other}",
        "at most": f"<= {limit}",
        "at least": f">= {limit}",
        "alike": f"<= {limit} from {bar.other.replace(',', ' and ')}",
        "of case": f"<= {limit} of {bar.other}",
        "more than case": f"<= {limit} more than {bar.other}",
    }[bar.kind]


def comparison_rows(results: Results, pairs: tuple[tuple[str, str, str], ...]) -> list[Row]:
    """A row for each (case, side, description of the side): pardata, the side, and the comparison of both."""
    rows: list[Row] = [("work", "instead", "takes", "pardata", "pardata is")]
    for case, side, words in pairs:
        ours, theirs = results.median(case, "pardata"), results.median(case, side)
        if ours and theirs:
            unit = results.cases[case]["unit"]
            compared = _compared(ours, theirs, results.more_is_better(case))
            rows.append((words, side, number(theirs, unit), number(ours, unit), compared))
    return rows


def behind_rows(results: Results) -> list[Row]:
    """A row for each side that was better than pardata, by how much, the worst first."""
    found = []
    for name, case in results.cases.items():
        ours, more = results.median(name, "pardata"), results.more_is_better(name)
        for side in case["rounds"]:
            theirs = results.median(name, side)
            if ours and theirs and not side.startswith(("pardata", "limit")):
                factor = theirs / ours if more else ours / theirs
                cells = (number(theirs, case["unit"]), number(ours, case["unit"]), times(factor))
                found.append((factor, (f"{name}: {case['title']}", side, *cells)))
    worse = sorted((each for each in found if each[0] > 1 + _ALIKE), key=lambda each: -each[0])
    return [("case", "side", "its figure", "pardata", "is better by"), *(row for _, row in worse)]


def earlier_rows(results: Results) -> list[Row]:
    """A row for each case that an earlier pardata was measured in: both figures, and time, CPU and memory of now."""
    rows: list[Row] = [("case", EARLIER, "now", "better by", "CPU per item", "peak memory")]
    for name, case in results.cases.items():
        old, new = results.median(name, EARLIER), results.median(name, "pardata")
        if old and new:
            factor = times(new / old if results.more_is_better(name) else old / new)
            shares = [_cpu_share(results, name), _peak_share(results, name)]
            figures = number(old, case["unit"]), number(new, case["unit"])
            told = ["-" if share is None else times(share) for share in shares]
            rows.append((f"{name}: {case['title']}", *figures, factor, *told))
    return rows


def earlier_factors(results: Results) -> list[tuple[str, float, float]]:
    """For each such case its name, and the time and the CPU per item that it takes now, of those of earlier."""
    found = []
    for name in results.cases:
        old, new = results.median(name, EARLIER), results.median(name, "pardata")
        cpu = _cpu_share(results, name)
        if old and new and cpu and results.cases[name]["unit"] != "MB":
            found.append((name, old / new if results.more_is_better(name) else new / old, cpu))
    return sorted(found, key=lambda each: each[1])


def _peak_share(results: Results, name: str) -> float | None:
    """The peak of memory that a case has now, of that of earlier; None if one of them is not known."""
    old, new = (results.median(name, side, "peak_bytes") for side in (EARLIER, "pardata"))
    return new / old if old and new else None


def _cpu_share(results: Results, name: str) -> float | None:
    """The CPU time per item that a case takes now, of that of earlier; None if one of them is not known."""
    per_item = []
    for side in (EARLIER, "pardata"):
        cpu_s, items = results.median(name, side, "cpu_s"), results.median(name, side, "items")
        if not cpu_s or not items:
            return None
        per_item.append(cpu_s / items)
    return per_item[1] / per_item[0]


def remarks(results: Results, names: list[str]) -> list[str]:
    """Remarks for a reader: failures, disturbed rounds, processes that were left behind."""
    lines = []
    for name in names:
        for side, rounds in results.cases[name]["rounds"].items():
            for error in sorted({outcome["error"] for outcome in rounds if "error" in outcome}):
                count = sum(outcome.get("error") == error for outcome in rounds)
                lines.append(f"{name}: {side} failed in {count} of {len(rounds)} rounds: {error}")
            foreign = results.median(name, side, "foreign_cpu")
            if foreign is not None and foreign > NOISE:
                lines.append(f"{name}: {side} ran beside other programs, which had {foreign:.0%} of the cores")
            left = max((outcome.get("left_processes", 0) for outcome in rounds), default=0)
            if left:
                lines.append(f"{name}: {side} left up to {left} processes behind")
    return lines


def as_text(rows: list[Row]) -> str:
    """Columns of equal width, a line under the headings."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def as_markdown(rows: list[Row]) -> str:
    """A table."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)
