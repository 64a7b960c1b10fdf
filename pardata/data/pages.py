"""The entries that are read and written together, along one axis. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from math import lcm
from typing import Final

_MOST: Final = 4  # times the longer of two: beyond that some pages are rather read twice


def step_of(unit: int, pages: Iterable[int]) -> int:
    """Return the entries of which blocks should be multiples: always of `unit`, and of the pages where that is short.

    Parameters
    ----------
    unit : int, at least 1
        Entries of the output that only one worker may write.
    pages : iterable of int, at least 1
        Entries of each input that are read as a whole.
    """
    step = unit
    for page in sorted(set(pages), reverse=True):
        common = lcm(step, page)
        if common <= _MOST * max(step, page):
            step = common
    return step
