"""The chunksize that stages ask of a source, and how many workers share its items. Pure."""

from __future__ import annotations

from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.stage import Stage


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
    """Return, per source or generator filter, how many workers its items pass side by side where they are most."""
    widths = dict.fromkeys(roots, 1)
    for stage in stages:
        width = max(stage.width, stage.node.branches if stage.kind is Kind.SCATTER else 1)
        for sequence in stage.taken_sequences:
            widths[roots[sequence]] = max(widths[roots[sequence]], width)
    return widths
