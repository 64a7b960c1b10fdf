"""The position of a stage in its inputs at a cut. Pure.

      numbers of one input:   ... 10 ─┬─ 11  12  13 ─┬─ 14 ...
                                     cut            here

A stage that takes several numberings meets their cuts at different moments. When it stores its state it names the last
cut of each, where the stages in front of it have stored theirs, and keeps how far it is behind that. A run that goes on
gives it the items between the two again, and it leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pardata.codec.batch_codec import CUT, Batch
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage


def begins_of(stage: Stage, plan: Plan) -> list[int]:
    """Return, per input of a stage, how many items it had given at the cut at which the run begins."""
    numbers = {} if plan.cuts is None else plan.cuts.numbers
    return [sum(numbers.get(root, 0) for root in roots.values()) for roots in _inputs_of(stage, plan)]


def _inputs_of(stage: Stage, plan: Plan) -> list[dict[int, int]]:
    """Return, per input of a stage, its numberings, each with its name where it begins."""
    taken = [[edge.renamed.get(sequence, sequence) for sequence in edge.stage.sequences] for edge in stage.edges]
    return [{sequence: plan.roots[sequence] for sequence in sequences} for sequences in taken]


class Reached:
    """The last cut and the next item of each numbering that a stage takes.

    Parameters
    ----------
    roots : mapping
        Per numbering, its name where it begins: one that comes in over several ways has a name for each.
    begin : tuple
        The cut at which the run begins, for each name in `roots`, in their order.
    is_paired : bool
        The stage takes items of one number from all its inputs: what only some of them gave does not count.
    """

    def __init__(self, roots: Mapping[int, int], begin: tuple[int, ...], is_paired: bool = False) -> None:
        first = dict(zip(sorted(set(roots.values())), begin, strict=True))
        self._roots = dict(roots)
        self._is_paired = is_paired
        self._told = begin
        self._cuts = {sequence: first[root] for sequence, root in roots.items()}
        self._next = dict(self._cuts)
        self._first = dict(self._cuts)  # items below were done in the run before

    @classmethod
    def of(cls, stage: Stage, plan: Plan, cuts: Cuts) -> Reached:
        """Return how far a stage is when the run begins."""
        roots = {sequence: root for given in _inputs_of(stage, plan) for sequence, root in given.items()}
        begin = cuts.starts[stage.index][0] if stage.index in cuts.starts else (0,) * len(set(roots.values()))
        return cls(roots, begin, stage.fanin.policy == "position")

    def pass_cut(self, batch: Batch) -> tuple[int, ...] | None:
        """Return the cut in front of a batch that is about to be taken; None: there is no new one."""
        if not batch.cell & CUT or batch.number <= self._cuts[batch.sequence]:
            return None
        self._cuts[batch.sequence] = batch.number
        return self._new(self._cuts)

    def take(self, batch: Batch) -> None:
        """Take in that a batch is taken."""
        end = batch.number + batch.count
        if end > self._next[batch.sequence]:
            self._next[batch.sequence] = end

    def end(self) -> tuple[int, ...] | None:
        """Return the cut behind all that was taken, when there is no more; None: there is no new one."""
        return self._new(self._next)

    def _new(self, numbers: dict[int, int]) -> tuple[int, ...] | None:
        """Return numbers under the names where they begin, the lowest of each, if they were not told before."""
        lowest: dict[int, int] = {}
        for sequence, root in self._roots.items():
            lowest[root] = min(numbers[sequence], lowest.get(root, numbers[sequence]))
        found = tuple(lowest[root] for root in sorted(lowest))
        if found == self._told:
            return None
        self._told = found
        return found

    def trimmed(self, batch: Batch) -> Batch:
        """Return a batch without the items that were done in the run before."""
        first = self._first[batch.sequence]
        if batch.number >= first:
            return batch
        return batch.only([index for index in range(len(batch.items)) if batch.item_number(index) >= first])

    @property
    def position(self) -> dict[int, int]:
        """Per numbering, the number below which all items are done: a part of the state at a cut."""
        lowest = min(self._next.values())
        return dict.fromkeys(self._next, lowest) if self._is_paired else dict(self._next)

    def go_on(self, position: dict[int, int]) -> None:
        """Go on with the state of the run before."""
        self._next, self._first = dict(position), dict(position)

    def save(self) -> Any:
        """Return all of it, for a successor within the run."""
        return self._told, self._cuts, self._next, self._first

    def load(self, saved: Any) -> None:
        """Go on as a successor."""
        self._told, self._cuts, self._next, self._first = saved
