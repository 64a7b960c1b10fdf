"""Measures: for each case its sides in turn, round after round, each in a fresh process (`isolate`).

round 1: pardata, rival, other rival    round 2: pardata, rival, other rival    ...
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import isolate, machine, results, rivals
from benchmarks.case import Case
from benchmarks.report import NOISE, number


@dataclass(frozen=True)
class Options:
    """The options of the command line.

    Parameters
    ----------
    rounds : of each side
    seconds : about as long a side measures in a round
    sides : only these; () for all
    quick : only the sides that a case names for it
    patience_s : for each side, to wait for an idle machine and to repeat a disturbed run in
    add : keep the rounds that are there, and add to them
    folder : of the results
    earlier : a work tree of the commit in `rivals.EARLIER`, which is measured beside pardata; None: it is not
    """

    rounds: int
    seconds: float
    sides: tuple[str, ...]
    quick: bool
    patience_s: float
    add: bool
    folder: Path
    earlier: Path | None = None


def measure(chosen: dict[str, list[Case]], options: Options) -> None:
    """Measure the cases of each scenario and write its file after every case, so that a run can be stopped."""
    isolate.become_reaper()
    here = machine.describe()
    for scenario, cases in chosen.items():
        path = options.folder / f"{scenario}.json"
        old = results.load(path).records.get(scenario) if path.exists() else None
        record = results.merged(old, scenario, here)
        for case in cases:
            if not options.quick or case.quick:
                record["cases"][case.name] = _measure_case(case, record["cases"].get(case.name), options)
                results.save(record, options.folder)


def _measure_case(case: Case, old: dict[str, Any] | None, options: Options) -> dict[str, Any]:
    wanted = [side for side in case.sides if not options.sides or side in options.sides]
    if options.quick:
        wanted = [side for side in wanted if side in case.quick]
    skipped = {side: reason for side in wanted if (reason := rivals.missing(side))}
    for side, reason in skipped.items():
        print(f"{case.name}: {side} is left out: {reason}", file=sys.stderr, flush=True)
    sides = [side for side in wanted if side not in skipped]
    if options.earlier and "pardata" in sides:
        sides.insert(1, rivals.EARLIER)
    kept = old if old and options.add else {"rounds": {}, "skipped": {}, "versions": {}}
    rounds: dict[str, list[dict[str, Any]]] = {side: list(each) for side, each in kept["rounds"].items()}
    for i in range(options.rounds):
        for side in sides:
            outcome = _attempt_in_quiet(case, side, options)
            if side == rivals.EARLIER and "error" in outcome:  # a case that there was not yet
                continue
            rounds.setdefault(side, []).append(outcome)
            said = outcome.get("error") or number(outcome["value"], case.unit)
            print(f"{case.name}  {i + 1}/{options.rounds}  {side}: {said}", file=sys.stderr, flush=True)
    return {
        "title": case.title,
        "unit": case.unit,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "commit": _commit(),
        "seconds": options.seconds,
        "versions": kept["versions"] | {side: found for side in sides if (found := _version(side))},
        "skipped": kept["skipped"] | skipped,
        "rounds": {side: rounds[side] for side in (*case.sides, rivals.EARLIER) if side in rounds},
    }


def _version(side: str) -> str | None:
    return None if side == rivals.EARLIER else rivals.RIVALS[side].version


def _attempt_in_quiet(case: Case, side: str, options: Options) -> dict[str, Any]:
    """The first outcome that other programs did not disturb, or, at the end of the patience, the least disturbed."""
    end = time.perf_counter() + options.patience_s
    outcomes: list[dict[str, Any]] = []
    while True:
        machine.wait_for_quiet(end - time.perf_counter())
        outcomes.append(_attempt(case, side, options))
        disturbed = outcomes[-1].get("foreign_cpu") or 0.0
        if disturbed <= NOISE or time.perf_counter() >= end:
            return min(outcomes, key=lambda outcome: outcome.get("foreign_cpu") or 0.0)


def _attempt(case: Case, side: str, options: Options) -> dict[str, Any]:
    """One outcome; a failure is an outcome too."""
    try:
        if side == rivals.EARLIER:
            return isolate.run_side(case.name, "pardata", options.seconds, case.peak, options.earlier)
        return isolate.run_side(case.name, side, options.seconds, case.peak)
    except isolate.SideFailed as error:
        return {"error": str(error)}


def _commit() -> str | None:
    """The commit of the measured sources; with a plus for changes that are not committed."""
    root = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "../pardata"], cwd=root, check=False)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + "+" * bool(changed.returncode)
