"""The scenarios, one file each, named by topology or work. Each has `CASES`."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.case import Case

ORDER = (
    "limits",
    "one_to_one",
    "one_to_many",
    "many_to_one",
    "diamond",
    "ping_pong",
    "map_array",
    "map_tasks",
    "kinds",
    "loads",
    "start_up",
    "recovery",
    "memory",
    "blocks",
    "lookups",
    "files",
    "data_files",
    "loader",
    "cluster",
)


def scenarios() -> dict[str, tuple[Case, ...]]:
    """The cases of every scenario, in the order in which they are told; new files come last."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    names = [name for name in ORDER if name in found] + sorted(found - set(ORDER))
    return {name: importlib.import_module(f"benchmarks.scenarios.{name}").CASES for name in names}


def select(names: list[str]) -> dict[str, list[Case]]:
    """The cases asked for: a scenario's name means all of its cases, a case's name it alone, and any other name those
    whose names begin so.

    Raises
    ------
    ValueError      a name fits nothing.
    """
    everything = scenarios()
    asked: set[str] = set()
    for name in names:
        found = _fitting(name, everything)
        if not found:
            known = "; ".join(f"{each}: {', '.join(c.name for c in cases)}" for each, cases in everything.items())
            raise ValueError(f"no scenario or case {name!r}; there are: {known}")
        asked |= found
    chosen = {each: [c for c in cases if c.name in asked or not names] for each, cases in everything.items()}
    return {each: cases for each, cases in chosen.items() if cases}


def _fitting(name: str, everything: dict[str, tuple[Case, ...]]) -> set[str]:
    if name in everything:
        return {case.name for case in everything[name]}
    all_names = {case.name for cases in everything.values() for case in cases}
    return {name} if name in all_names else {each for each in all_names if each.startswith(name)}


def find(name: str) -> Case:
    """The case of this name."""
    return next(case for cases in scenarios().values() for case in cases if case.name == name)
