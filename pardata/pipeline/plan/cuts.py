"""The begin of a run that goes on, and the way in which its stages store where they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Told = tuple[tuple[int, ...], int]


@dataclass(frozen=True)
class Cuts:
    """The cut at which a run begins, and its way to make further ones.

    Attributes
    ----------
    folder, owner : str, int
        Of the checkpoint; and the process that has it.
    every_s : float
        Seconds between two cuts.
    numbers : mapping
        The first number of each source's and each filter's items; 0 where it is missing.
    starts : mapping
        By the index of a stage: the numbers `taken` and `made` (see `runtime.events.CutPassed`) of its state.
    """

    folder: str
    owner: int
    every_s: float
    numbers: Mapping[int, int]
    starts: Mapping[int, Told]
