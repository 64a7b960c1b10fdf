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
    "loads",
    "start_up",
    "recovery",
    "memory",
    "blocks",
    "lookups",
    "files",
)


def scenarios() -> dict[str, tuple[Case, ...]]:
    """The cases of every scenario, in the order in which they are told; new files come last."""
    found = {module.name for module in pkgutil.iter_modules(__path__)}
    names = [name for name in ORDER if name in found] + sorted(found - set(ORDER))
    return {name: importlib.import_module(f"benchmarks.scenarios.{name}").CASES for name in names}


def select(names: list[str]) -> dict[str, list[Case]]:
    """The cases asked for: a scenario's name means all of its cases, another one those whose names begin with it.

    Raises
    ------
    ValueError      a name fits nothing.
    """
    chosen: dict[str, list[Case]] = {}
    everything = scenarios()
    for name in names:
        if name not in everything and not any(c.name.startswith(name) for cases in everything.values() for c in cases):
            known = "; ".join(
                f"{scenario}: {', '.join(c.name for c in cases)}" for scenario, cases in everything.items()
            )
            raise ValueError(f"no scenario or case {name!r}; there are: {known}")
    for scenario, cases in everything.items():
        fitting = [c for c in cases if not names or scenario in names or any(c.name.startswith(n) for n in names)]
        if fitting:
            chosen[scenario] = fitting
    return chosen


def find(name: str) -> Case:
    """The case of this name."""
    return next(case for cases in scenarios().values() for case in cases if case.name == name)
