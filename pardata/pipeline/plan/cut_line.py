"""Finds the cut through a whole graph in what its stages have told of their own. Pure.

      source ──> filter ──> sink          source 40 <- filter (40, 13) <- sink (13)

A stage has told: with the items below these numbers of its inputs it was done, and had made those below that number of
its output. A cut goes through the graph where the numbers of all stages fit together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pardata.pipeline.plan.cuts import Told


class CutStage(NamedTuple):
    """A stage that tells of cuts, by its index: the numberings that it takes, under their first names, and its own."""

    stage: int
    origins: list[int]
    own: int | None


@dataclass(frozen=True)
class Cut:
    """A cut through all stages: the number of each numbering, and of each stage what it has told there."""

    numbers: dict[int, int] = field(default_factory=dict)
    stages: dict[int, Told] = field(default_factory=dict)


class CutLine:
    """The positions that the stages have told since the last cut that was committed.

    Parameters
    ----------
    stages : iterable of CutStage
    starts : mapping
        Of the cut at which the run begins; a stage that is missing begins with nothing.

    Attributes
    ----------
    cut : Cut
        The last one that was committed, or that at which the run began.
    """

    def __init__(self, stages: Iterable[CutStage], starts: Mapping[int, Told]) -> None:
        self._stages = list(stages)
        self._told: dict[int, dict[tuple[int, ...], int]] = {}
        for stage in self._stages:
            taken, made = starts.get(stage.stage, ((0,) * len(stage.origins), 0))
            self._told[stage.stage] = {taken: made}
        self.cut = self._newest()

    def note(self, stage: int, taken: tuple[int, ...], made: int) -> Cut | None:
        """Take in what a stage tells; return the newest cut if it is newer than the last one."""
        if any(now < before for now, before in zip(taken, self.cut.stages[stage][0], strict=True)):
            return None  # a successor begins with the cuts of the run's begin
        self._told[stage][taken] = made
        found = self._newest()
        return found if found.numbers != self.cut.numbers else None

    def _newest(self) -> Cut:
        """Return the newest cut: each stage goes back as long as it is ahead of another one.

        What a stage tells later is nowhere lower, so it does not matter which one goes first; the last cut is left.
        """
        told = {stage.stage: sorted(self._told[stage.stage].items()) for stage in self._stages}
        while True:
            numbers: dict[int, int] = {}
            for stage in self._stages:
                for sequence, number in _numbers_of(stage, told[stage.stage][-1]):
                    numbers[sequence] = min(number, numbers.get(sequence, number))
            ahead = [
                stage
                for stage in self._stages
                if any(number > numbers[sequence] for sequence, number in _numbers_of(stage, told[stage.stage][-1]))
            ]
            if not ahead:
                return Cut(numbers, {stage.stage: told[stage.stage][-1] for stage in self._stages})
            for stage in ahead:
                # The cut of the run's begin, or the last committed one, is never taken out: no stage is ahead of it.
                told[stage.stage].pop()

    def commit(self, cut: Cut) -> list[tuple[int, tuple[int, ...]]]:
        """Take in that a cut counts; return the states that no later cut has: stage, and numbers taken."""
        self.cut = cut
        old = []
        for stage in self._stages:
            reached = cut.stages[stage.stage][0]
            told = self._told[stage.stage]
            old += [(stage.stage, taken) for taken in told if taken < reached]
            self._told[stage.stage] = {taken: made for taken, made in told.items() if taken >= reached}
        return old


def _numbers_of(stage: CutStage, told: Told) -> list[tuple[int, int]]:
    taken, made = told
    own = [] if stage.own is None else [(stage.own, made)]
    return [*zip(stage.origins, taken, strict=True), *own]
