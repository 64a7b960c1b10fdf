"""``python -m benchmarks``: measures the scenarios side by side, prints the table, writes the rounds to a file.

    for each scenario:   round 1: pardata, rival   round 2: pardata, rival  ...    each in a fresh process (`isolate`)

Nothing is judged by the exit status, it is always 0: the table says what was reached.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import isolate, machine, report
from benchmarks.run import SECONDS
from benchmarks.scenarios import SCENARIOS, Scenario, select

RESULTS = Path(__file__).parent / "results" / "spine.json"
QUICK_SECONDS, QUICK_ROUNDS = 0.5, 1


def main() -> None:
    """Measure what the command line asks for."""
    arguments = _parse()
    isolate.become_reaper()
    limits = _attempt("limits", "-", SECONDS)
    record: dict[str, Any] = {"command": sys.argv[1:], "machine": machine.describe(), "limits": limits}
    results: dict[str, dict[str, Any]] = {}
    for scenario in arguments.scenarios:
        rounds = _measure(scenario, arguments)
        results[scenario.name] = report.judge(scenario, rounds) | {"rounds": rounds}
        _save(record | {"scenarios": results, "same_speed": report.judge_same_speed(results)}, arguments.out)
    print(report.table(results, {} if "error" in limits else limits))
    print(f"\nall rounds: {arguments.out}")


def _save(record: dict[str, Any], path: Path) -> None:
    """Write what there is so far: a long run that is stopped keeps the scenarios that it has done."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"date": now, "load": machine.describe()["load"]} | record, indent=1) + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    names = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"names or their beginnings, of: {names}")
    parser.add_argument("--rounds", type=int, default=None, help="of each side, alternating (default 5)")
    parser.add_argument("--quick", action="store_true", help="short runs, one round: to see that it works")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"where the rounds go (default {RESULTS})")
    parser.add_argument("--side", action="append", dest="sides", help="only this side (may be repeated)")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        help="seconds per side to wait for an idle machine, and to repeat a disturbed run in",
    )
    arguments = parser.parse_args()
    try:
        arguments.scenarios = select(arguments.scenarios)
    except ValueError as error:
        parser.error(str(error))
    arguments.seconds = QUICK_SECONDS if arguments.quick else SECONDS
    if arguments.rounds is None:
        arguments.rounds = QUICK_ROUNDS if arguments.quick else 5
    return arguments


def _measure(scenario: Scenario, arguments: argparse.Namespace) -> report.Rounds:
    """The outcomes of every side, the sides taking turns."""
    outcomes: report.Rounds = {side: [] for side in scenario.sides}
    for i in range(arguments.rounds):
        for side in scenario.sides:
            if arguments.sides and side not in arguments.sides:
                continue
            outcome = _attempt_in_quiet(scenario.name, side, arguments)
            outcomes[side].append(outcome)
            said = outcome.get("error") or f"{outcome['value']:.6g} {scenario.unit}"
            print(f"{scenario.name}  {i + 1}/{arguments.rounds}  {side}: {said}", file=sys.stderr, flush=True)
    return outcomes


def _attempt_in_quiet(scenario: str, side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The first outcome that other programs did not disturb, or, at the end of the patience, the least disturbed."""
    end = time.perf_counter() + arguments.patience
    outcomes: list[dict[str, Any]] = []
    while True:
        machine.wait_for_quiet(end - time.perf_counter())
        outcomes.append(_attempt(scenario, side, arguments.seconds) | {"attempt": len(outcomes) + 1})
        disturbed = outcomes[-1].get("foreign_cpu") or 0.0
        if disturbed <= report.NOISE or time.perf_counter() > end:
            return min(outcomes, key=lambda outcome: outcome.get("foreign_cpu") or 0.0)


def _attempt(scenario: str, side: str, seconds: float) -> dict[str, Any]:
    """One outcome; a failure is an outcome too."""
    try:
        return isolate.run_side(scenario, side, seconds)
    except isolate.SideFailed as error:
        return {"error": str(error)}


if __name__ == "__main__":
    main()
