"""The figures and tables of README.md and docs/: written from the results, between marks that a reader does not see.

    <!-- figure CASE SIDE -->18 us<!-- end -->              a median
    <!-- ratio CASE SIDE -->4.2 x<!-- end -->               the factor by which pardata is better than a side
    <!-- table CASE CASE ... -->                            a table of these cases, and so on until
    <!-- end -->

`table` also knows "bars" (all of them), "falls-short" (those that do), "machine", "versions", "disturbed", "readme",
"behind" (where others are better), "earlier" (beside an earlier pardata), and "scenario NAME".
A figure that was not measured is "not measured". An author of a page writes the marks, and never the text between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bars import BARS, judge
from benchmarks.results import Results
from benchmarks.scenarios import scenarios

ROOT = Path(__file__).parent.parent
PLOTS = ROOT / "docs" / "benchmarks"
README_PLOT = ("chain_copy", "map_array", "ping_pong_large")
README_TABLE = (
    ("chain_nocopy_8MB", "mp.Queue", "8 MB arrays through three stages, one entry changed"),
    ("chain_inplace", "mp.Queue", "the same, all of it changed in place"),
    ("chain_copy", "mp.Queue", "the same, each stage returns a new array"),
    ("chain_small", "mp.Queue", "800 B arrays through three stages"),
    ("map_array", "mp.Pool", "sqrt(x) * sin(x) of 256 MB, two workers"),
    ("map_array", "joblib", "the same"),
    ("map_array", "threads", "the same"),
    ("task_submit", "concurrent.futures", "a task that does nothing, and its result"),
    ("block_fill", "mp.shared_memory", "256 MB put into shared memory"),
    ("lookup_table_one", "mp.Manager", "a key looked up in a shared table"),
)
MARK = re.compile(r"<!-- (figure|ratio|table) (.*?) -->(.*?)<!-- end -->", re.DOTALL)


def pages() -> list[Path]:
    """All pages that may have marks."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def write(results: Results) -> list[Path]:
    """Bring pages and plots up to date; the files that were written."""
    from benchmarks import plots

    written = []
    for page in pages():
        text = page.read_text()
        new = filled(text, results)
        if new != text:
            page.write_text(new)
            written.append(page)
    for name, record in results.records.items():
        plots.draw(results, list(record["cases"]), PLOTS / f"{name}.svg")
        written.append(PLOTS / f"{name}.svg")
    factors = report.earlier_factors(results)
    if factors:
        plots.draw_earlier(factors, PLOTS / "earlier.svg")
        written.append(PLOTS / "earlier.svg")
    measured = [name for name in README_PLOT if name in results.cases]
    if measured:
        plots.draw(results, measured, PLOTS / "readme.svg")
    return written


def filled(text: str, results: Results) -> str:
    """A page's text with everything between marks as the results have it.

    Raises
    ------
    KeyError      a mark names a case that does not exist.
    """
    known = {case.name for cases in scenarios().values() for case in cases}

    def fill(match: re.Match[str]) -> str:
        kind, what = match[1], match[2]
        if kind == "table":
            return f"<!-- table {what} -->\n{_table(what, results)}\n<!-- end -->"
        case, side = what.split(" ", 1)
        if case not in known:
            raise KeyError(f"<!-- {kind} {what} -->: there is no case {case}")
        return f"<!-- {kind} {what} -->{_figure(kind, case, side, results)}<!-- end -->"

    return MARK.sub(fill, text)


def _figure(kind: str, case: str, side: str, results: Results) -> str:
    value, ours = results.median(case, side), results.median(case, "pardata")
    if value is None or (ours is None and kind == "ratio"):
        return "not measured"
    if kind == "figure":
        return report.number(value, results.cases[case]["unit"])
    assert ours is not None
    return report.times(ours / value if results.more_is_better(case) else value / ours)


def _table(what: str, results: Results) -> str:
    special: dict[str, Callable[[Results], str]] = {
        "bars": _bars,
        "falls-short": _short,
        "machine": _machine,
        "versions": _versions,
        "disturbed": _disturbed,
        "earlier": lambda found: report.as_markdown(report.earlier_rows(found)),
        "behind": lambda found: report.as_markdown(report.behind_rows(found)),
        "readme": lambda found: report.as_markdown(report.comparison_rows(found, README_TABLE)),
    }
    if what in special:
        return special[what](results)
    if what.startswith("scenario "):
        names = list(results.records.get(what.split()[1], {"cases": {}})["cases"])
    else:
        names = [name for name in what.split() if name in results.cases]
    return report.as_markdown(report.case_rows(results, names)) if names else "not measured"


def _bars(results: Results) -> str:
    return report.as_markdown(report.bar_rows([judge(bar, results) for bar in BARS], results))


def _short(results: Results) -> str:
    judgements = [judge(bar, results) for bar in BARS]
    short = [judgement for judgement in judgements if judgement.verdict == "falls short"]
    return report.as_markdown(report.bar_rows(short, results)) if short else "None falls short."


def _machine(results: Results) -> str:
    """Machine and date. Each scenario has a record of its own; the scenarios are named where the records differ."""
    if not results.cases:
        return "not measured"
    lines = []
    for machine in _distinct([record["machine"] for record in results.records.values()]):
        memory = (machine["memory_bytes"] or 0) / 2**30
        lines.append(
            f"{machine['cpu']}, {machine['cores']} cores, {memory:.0f} GiB; {machine['system']}; "
            f"Python {machine['python']}, NumPy {machine['numpy']}"
        )
    dates = sorted(case["date"][:10] for case in results.cases.values())
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return "; ".join(lines) + f"; measured {when}."


def _distinct(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _versions(results: Results) -> str:
    versions = {side: version for case in results.cases.values() for side, version in case["versions"].items()}
    return ", ".join(f"{side} {version}" for side, version in sorted(versions.items())) + "."


def _disturbed(results: Results) -> str:
    """The sides that other programs disturbed."""
    found = []
    for name, case in results.cases.items():
        shares = {side: results.median(name, side, "foreign_cpu") or 0.0 for side in case["rounds"]}
        sides = [f"{side} {share:.0%}" for side, share in shares.items() if share > report.NOISE]
        found += [f"{name} ({', '.join(sides)})"] if sides else []
    return "; ".join(found) + "." if found else "None."
