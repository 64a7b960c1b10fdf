"""The chunksize that stages ask of a source, how many workers share its items, and how stages share the cores. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from pardata.pipeline.plan.node import WITH_FUNCTION, Kind, Node
from pardata.pipeline.plan.stage import Stage

_MOST_WORKERS: Final = 1024  # of a stage with workers="auto": more of them help nobody


class CoreShare(NamedTuple):
    """The cores that a run has for its stages with workers="auto".

    Attributes
    ----------
    stages : int
        How many there are.
    others : int
        Workers of the other stages that call a function in processes of their own.
    together, each : int
        Workers that they may have together, and one of them alone.
    """

    stages: int
    others: int
    together: int
    each: int

    def narrowed(self, most: int) -> CoreShare:
        """Return the share of stages of which each may have `most` workers at the most."""
        return self._replace(together=min(self.together, self.stages * most), each=min(self.each, most))


def share_of(nodes: Iterable[Node], cores: int) -> CoreShare:
    """Return the share of the stages with workers="auto": what the others leave of `cores`, and one for each at least.

    Sources, joins and threads do not count: as a rule they wait.
    """
    counted = [node for node in nodes if node.kind in WITH_FUNCTION and not node.thread]
    stages = sum(node.is_auto for node in counted)
    others = sum(node.workers for node in counted if not isinstance(node.workers, str))
    together = max(stages, cores - others)
    return CoreShare(stages, others, together, together - stages + 1).narrowed(_MOST_WORKERS)


def chunksizes_of(stages: list[Stage], roots: list[int]) -> dict[int, int | None]:
    """Return, per source or generator filter, the least chunksize asked for by a stage that its items pass."""
    sizes: dict[int, int | None] = {}
    for sequence, root in enumerate(roots):
        for stage in stages:
            passes = sequence in stage.taken_sequences or sequence == stage.own_sequence
            asked = stage.node.chunksize if passes else None
            if stage.fanin.policy == "round_robin" and sequence in stage.taken_sequences:
                sizes[root] = 1
            if asked is not None and (stage.kind is not Kind.GENERATOR or sequence == stage.own_sequence):
                sizes[root] = min(asked, sizes.get(root) or asked)
    return {root: sizes.get(root) for root in roots}


def widths_of(stages: list[Stage], roots: list[int]) -> dict[int, int]:
    """Return, per source or generator filter, how many workers its items pass side by side where they are most.

    Of a stage with workers="auto" one counts. Of the items that take least it needs no more, and for as many workers as
    it may have, messages would have that many times fewer of them; those that take long are few in a message anyway.
    """
    widths = dict.fromkeys(roots, 1)
    for stage in stages:
        width = max(stage.first_workers * stage.node.lanes, stage.node.branches if stage.kind is Kind.SCATTER else 1)
        for sequence in stage.taken_sequences:
            widths[roots[sequence]] = max(widths[roots[sequence]], width)
    return widths
