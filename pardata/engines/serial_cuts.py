"""The cuts of a generator filter on the serial engine."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from pardata.codec.batch_codec import CUT, Batch
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.cuts import FilterCuts
from pardata.runtime.events import CutPassed


def cuts_of(plan: Plan, stage: Stage, on_cut: Callable[[CutPassed], None] | None) -> SerialCuts | None:
    """Return the cuts of a filter, if the run makes any."""
    return None if plan.cuts is None else SerialCuts(FilterCuts(plan.cuts, stage.index), on_cut)


class SerialCuts:
    """Finds the cuts in the input of a filter, and marks them in its output.

    Attributes
    ----------
    next_output : int
        Number of the next output.
    has_ended : bool
        Nothing comes out of the filter: it had ended at the cut at which the run began.
    """

    def __init__(self, cuts: FilterCuts, on_cut: Callable[[CutPassed], None] | None) -> None:
        self.next_output = 0
        self.has_ended = False
        self._cuts = cuts
        self._on_cut = on_cut
        self._behind = cuts.begin

    def begin(self, fn: Any) -> int:
        """Bring a filter to the cut at which the run begins; return the number of its first output."""
        self._cuts.watch(fn, self)
        saved = self._cuts.load()
        if saved is not None:
            self.next_output, self.has_ended = saved.next_output, saved.has_ended
            if not saved.has_ended:
                fn.restore(pickle.loads(saved.data))
        return self.next_output

    def take(self, batch: Batch) -> None:
        """Take in that a batch is about to be taken."""
        if batch.cell & CUT and batch.number > self._cuts.begin:
            self._store(batch.number)
        self._behind = batch.number + batch.count
        self._cuts.count(len(batch.items))

    def end(self) -> None:
        """Take in that there are no more batches."""
        if self._behind > self._cuts.begin:
            self._store(self._behind)

    def _store(self, taken: int) -> None:
        assert self._on_cut is not None
        self._on_cut(self._cuts.store(taken))

    def mark(self, number: int) -> int:
        """Return the flag of an output."""
        self.next_output = number + 1
        return self._cuts.mark(number)
