"""``python -m benchmarks``: measures pardata beside its rivals, prints the tables, writes results, plots and pages.

The exit status judges nothing, the tables tell which bars are reached; only ``--compare`` ends with 1 if pardata has
become slower beyond the noise, or if nothing could be compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import compare, pages, report, results, runner
from benchmarks.bars import bars_of, judge
from benchmarks.results import Results
from benchmarks.rivals import EARLIER
from benchmarks.scenarios import scenarios, select

SECONDS, ROUNDS = 0.5, 5
QUICK_SECONDS, QUICK_ROUNDS = 0.2, 1
QUICK_FOLDER = results.FOLDER / "quick"


def main() -> None:
    """Measure, compare or show results, as the command line tells."""
    arguments = _parse()
    old = results.load(arguments.compare) if arguments.compare else None
    if not arguments.show:
        runner.measure(arguments.chosen, _options(arguments))
    everything = results.load(arguments.out)
    names = [case.name for cases in arguments.chosen.values() for case in cases if case.name in everything.cases]
    print(_told(everything, names))
    if arguments.docs:
        for path in pages.write(everything):
            print(f"written: {path}")
    if old:
        chosen = _only(everything, names)
        print("\n" + "\n".join(compare.told(old, chosen)))
        found = compare.differences(old, chosen)
        sys.exit(not found or bool(compare.regressions(found)))


def _told(everything: Results, names: list[str]) -> str:
    """The table of the results, the bars, and remarks."""
    judgements = [judge(bar, everything) for bar in bars_of(set(names))]
    parts = [report.as_text(report.case_rows(everything, names))]
    if judgements:
        parts.append(report.as_text(report.bar_rows(judgements, everything)))
    return "\n\n".join([*parts, "\n".join(report.remarks(everything, names))]).rstrip()


def _only(everything: Results, names: list[str]) -> Results:
    """The cases of these names."""
    records = {
        scenario: record | {"cases": {name: case for name, case in record["cases"].items() if name in names}}
        for scenario, record in everything.records.items()
    }
    return Results(records)


def _options(arguments: argparse.Namespace) -> runner.Options:
    quick = arguments.quick
    return runner.Options(
        rounds=arguments.rounds or (QUICK_ROUNDS if quick else ROUNDS),
        seconds=QUICK_SECONDS if quick else SECONDS,
        sides=tuple(arguments.sides or ()),
        quick=quick,
        patience_s=arguments.patience,
        add=arguments.add,
        folder=arguments.out,
        earlier=arguments.earlier,
    )


def _commit_of(folder: Path) -> str:
    """The commit of a work tree, in seven digits; empty if it is none."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _parse() -> argparse.Namespace:
    known = "; ".join(f"{name}: {', '.join(case.name for case in cases)}" for name, cases in scenarios().items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0], epilog=f"scenarios and cases: {known}"
    )
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help="a scenario, a case, or how names of cases begin")
    parser.add_argument("--rounds", type=int, help=f"of each side, in turn (default {ROUNDS})")
    parser.add_argument("--add", action="store_true", help="add the rounds to those that are there")
    parser.add_argument("--quick", action="store_true", help="one short round of few sides: to see that it works")
    parser.add_argument(
        "--side", action="append", dest="sides", metavar="SIDE", help="only this side (may be repeated)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help=f"of the results (default {results.FOLDER})")
    parser.add_argument("--show", action="store_true", help="measure nothing, show what is there")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="a file or folder of older results")
    parser.add_argument("--docs", action="store_true", help="write the plots, and the figures and tables of the pages")
    parser.add_argument(
        "--earlier",
        type=Path,
        metavar="FOLDER",
        help=f"a work tree of {EARLIER.split()[1]} (git worktree add), which is measured beside pardata",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        help="seconds per side to wait for an idle machine, and to repeat a disturbed run in",
    )
    arguments = parser.parse_args()
    if arguments.earlier and f"pardata {_commit_of(arguments.earlier)}" != EARLIER:
        parser.error(f"--earlier: {arguments.earlier} is no work tree of {EARLIER.split()[1]}")
    arguments.out = arguments.out or (QUICK_FOLDER if arguments.quick else results.FOLDER)
    try:
        arguments.chosen = select(arguments.scenarios)
    except ValueError as error:
        parser.error(str(error))
    return arguments


if __name__ == "__main__":
    main()
