"""The cuts of a run on the serial engine."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.build import filter_cuts
from pardata.pipeline.programs.cuts import FilterCuts
from pardata.runtime.events import CutPassed


def cuts_of(plan: Plan, stage: Stage, on_cut: Callable[[CutPassed], None] | None) -> SerialCuts | None:
    """Return the cuts of a filter, if the run makes any."""
    cuts = filter_cuts(stage, plan)
    return None if cuts is None or on_cut is None else SerialCuts(cuts, on_cut)


class SerialCuts:
    """Finds the cuts in the input of a filter, and marks them in its output.

    Attributes
    ----------
    next_output : int
        Number of the next output.
    has_ended : bool
        Nothing comes out of the filter: it had ended at the cut at which the run began.
    """

    def __init__(self, cuts: FilterCuts, on_cut: Callable[[CutPassed], None]) -> None:
        self.next_output = 0
        self.has_ended = False
        self._cuts = cuts
        self._on_cut = on_cut

    def begin(self, fn: Any) -> int:
        """Bring a filter to the cut at which the run begins; return the number of its first output."""
        self._cuts.watch(fn, self)
        saved = self._cuts.load()
        if saved is not None:
            self.next_output, self.has_ended = saved.next_output, saved.has_ended
            if not saved.has_ended:
                fn.restore(pickle.loads(saved.data))
        return self.next_output

    def take(self, batch: Batch) -> Batch:
        """Take a batch; return what of it was not done in the run before."""
        reached = self._cuts.reached
        self._store(reached.pass_cut(batch))
        reached.take(batch)
        batch = reached.trimmed(batch)
        self._cuts.count(len(batch.items))
        return batch

    def end(self) -> None:
        """Take in that there are no more batches."""
        self._store(self._cuts.reached.end())

    def _store(self, taken: tuple[int, ...] | None) -> None:
        if taken is not None:
            self._on_cut(self._cuts.store(taken))

    def mark(self, number: int) -> int:
        """Return the flag of an output."""
        self.next_output = number + 1
        return self._cuts.mark(number)
