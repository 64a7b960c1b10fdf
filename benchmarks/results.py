"""The results of measurements: a file per scenario, and their medians. Pure but for `load` and `save`.

    {"scenario": ..., "machine": {...}, "cases": {case: {"date": ..., "commit": ..., "unit": ..., "title": ...,
     "versions": {side: ...}, "skipped": {side: reason}, "rounds": {side: [outcome, ...]}}}}

An outcome has "value" or "error".
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
DIGITS = 6


@dataclass(frozen=True)
class Results:
    """The records of some scenarios, by name."""

    records: dict[str, dict[str, Any]]

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        """The results of each case, by name."""
        return {name: case for record in self.records.values() for name, case in record["cases"].items()}

    def rounds(self, case: str, side: str) -> list[dict[str, Any]]:
        """The outcomes of a side, failed ones included; [] if it was not measured."""
        found: list[dict[str, Any]] = self.cases.get(case, {}).get("rounds", {}).get(side, [])
        return found

    def values(self, case: str, side: str, key: str = "value") -> list[float]:
        """A figure of every round that has it."""
        return [outcome[key] for outcome in self.rounds(case, side) if outcome.get(key) is not None]

    def median(self, case: str, side: str, key: str = "value") -> float | None:
        """The median over the rounds; None if there is none."""
        values = self.values(case, side, key)
        return statistics.median(values) if values else None

    def spread(self, case: str, side: str) -> float:
        """Half of the range of the rounds, as a share of their median."""
        values = self.values(case, side)
        middle = statistics.median(values) if values else 0
        return (max(values) - min(values)) / 2 / middle if middle else 0.0

    def more_is_better(self, case: str) -> bool:
        """True if the case's unit is a rate or an efficiency."""
        return str(self.cases[case]["unit"]).endswith(("/s", "%"))


def load(path: Path) -> Results:
    """The results in a file, or in all files of a folder (none, if it is not there yet).

    Raises
    ------
    FileNotFoundError, ValueError      there is no such file, or it is something else.
    """
    paths = [path] if path.suffix else sorted(path.glob("*.json"))
    records = {}
    for each in paths:
        record = json.loads(each.read_text())
        if not isinstance(record, dict) or "cases" not in record:
            raise ValueError(f"{each} is not a file of results: it has no cases")
        records[record["scenario"]] = record
    return Results(records)


def save(record: dict[str, Any], folder: Path) -> Path:
    """Write a scenario's record; the values are rounded, the noise is in the second digit."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['scenario']}.json"
    path.write_text(_text(_rounded(record)))
    return path


def merged(old: dict[str, Any] | None, scenario: str, machine: dict[str, Any]) -> dict[str, Any]:
    """The record to go on with: the old one, if it was measured on this machine, else an empty one."""
    if old is not None and old["machine"] == machine:
        return old
    return {"scenario": scenario, "machine": machine, "cases": {}}


def _text(record: dict[str, Any]) -> str:
    """JSON with a line for each round."""
    text = json.dumps(record, indent=1)
    for side in _rounds(record):
        for outcome in side:
            text = text.replace(json.dumps(outcome, indent=1).replace("\n", "\n      "), json.dumps(outcome))
    return text + "\n"


def _rounds(record: dict[str, Any]) -> Iterable[list[dict[str, Any]]]:
    return (rounds for case in record["cases"].values() for rounds in case["rounds"].values())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
