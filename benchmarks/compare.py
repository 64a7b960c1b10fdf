"""The changes between two sets of results that are more than noise. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from benchmarks.results import Results

SMALLEST = 0.03  # by more than this no change of the code may make pardata slower
FEWEST = 3  # rounds

Change = Literal["slower", "faster", "same", "too few rounds"]


@dataclass(frozen=True)
class Difference:
    """One side of one case, before and after. `factor`: it is so many times better after."""

    case: str
    side: str
    old: float
    new: float
    factor: float
    change: Change


def differences(old: Results, new: Results) -> list[Difference]:
    """Every side of every case that both have."""
    found = []
    for case, record in new.cases.items():
        for side in record["rounds"]:
            before, after = old.values(case, side), new.values(case, side)
            if before and after and old.cases[case]["unit"] == record["unit"]:
                found.append(_difference(case, side, before, after, new.more_is_better(case)))
    return found


def _difference(case: str, side: str, before: list[float], after: list[float], more: bool) -> Difference:
    old, new = statistics.median(before), statistics.median(after)
    factor = (new / old if more else old / new) if old and new else 1.0
    return Difference(case, side, old, new, factor, _change(before, after, factor))


def _change(before: list[float], after: list[float], factor: float) -> Change:
    """A change is more than noise if the ranges of the rounds before and after do not overlap.

    Of five rounds and five that are alike, that happens by chance once in 126 (both directions).
    """
    if min(len(before), len(after)) < FEWEST:
        return "too few rounds"
    apart = max(before) < min(after) or max(after) < min(before)
    if not apart or abs(factor - 1) < SMALLEST:
        return "same"
    return "faster" if factor > 1 else "slower"


def regressions(found: list[Difference]) -> list[Difference]:
    """pardata's own that became slower (or larger)."""
    return [difference for difference in found if difference.side == "pardata" and difference.change == "slower"]


def told(old: Results, new: Results) -> list[str]:
    """Lines for a reader: the changes, worst first, and whether the two sets can be compared at all."""
    found = differences(old, new)
    if not found:
        return ["no side of a case is in both sets of results: nothing was compared"]
    lines = []
    machines = [next(iter(results.records.values()))["machine"] for results in (old, new) if results.records]
    if len(machines) == 2 and machines[0] != machines[1]:
        differing = sorted(key for key in machines[0] if machines[0][key] != machines[1].get(key))
        lines.append(f"measured on different machines ({', '.join(differing)}): look at the rivals' changes as well")
    changed = sorted((d for d in found if d.change in ("slower", "faster")), key=lambda d: d.factor)
    for d in changed:
        unit = new.cases[d.case]["unit"]
        lines.append(f"{d.change}: {d.case}, {d.side}: {d.old:.4g} -> {d.new:.4g} {unit} ({d.factor:.2f} x)")
    few = sum(d.change == "too few rounds" for d in found)
    if few:
        lines.append(f"{few} sides have fewer than {FEWEST} rounds: nothing is said about them")
    same = len(found) - len(changed) - few
    lines.append(f"{len(changed)} of {len(found)} sides changed beyond the noise, {same} did not")
    return lines
