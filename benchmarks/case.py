"""A case, its sides, and the outcome of one run of a side. Pure: starts nothing, measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.rivals import Rival

Unit = Literal["items/s", "GB/s", "%", "s", "MB"]
Outcome = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One piece of work, done by several sides.

    Parameters
    ----------
    name : its name in the command line and in the results
    title : its description in the tables
    unit : "items/s", "GB/s", "%" (more is better), "s" or "MB" (less is better)
    sides : names of rivals (`benchmarks.rivals.RIVALS`), pardata first
    measure : called as ``measure(rival, seconds)`` in a process of its own, for about `seconds` if the work can be cut
        to that; does the work, checks the result (an AssertionError: the run does not count), and returns a dict with
        "value" in `unit`, "items" (the number by which the CPU seconds are divided) and further figures to be kept
    peak : the value is not what `measure` returns but the peak memory of the side's processes, in MB
    quick : sides that ``--quick`` measures too; () leaves the case out
    """

    name: str
    title: str
    unit: Unit
    sides: tuple[str, ...]
    measure: Callable[[Rival, float], Outcome]
    peak: bool = False
    quick: tuple[str, ...] = ("pardata",)
