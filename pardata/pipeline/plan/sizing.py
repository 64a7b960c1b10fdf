"""How many items go into a message, and how many messages may be in flight. Pure."""

from __future__ import annotations

from typing import Final

from pardata.channel.window import Window
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.stage import Stage

MOST_TOKENS: Final = 4096  # so that all a channel has in flight can be named in one message
_SMALL: Final = 64
_WINDOW: Final = 32


def window_of(worker_stages: list[Stage], stages: list[Stage]) -> Window:
    """Return how many batches of a source may be in flight.

    At least two for each worker and one for each stage. Of small batches there may be `_SMALL`, so that a process that
    gets a core finds something to do; and `_WINDOW` for each worker of the widest stage, so that the others go on
    while one of them takes `_WINDOW` times as long for an item and the order is kept.
    """
    fewest = 2 * sum(stage.workers for stage in worker_stages) + len(stages)
    widest = max(stage.workers for stage in stages)
    return Window(fewest, min(MOST_TOKENS, max(fewest, _SMALL, _WINDOW * widest)))


def chunksizes_of(stages: list[Stage], roots: list[int]) -> dict[int, int | None]:
    """Return, per source or generator filter, the least chunksize asked for by a stage that its items pass."""
    sizes: dict[int, int | None] = {}
    for sequence, root in enumerate(roots):
        for stage in stages:
            passes = sequence in stage.taken_sequences or sequence == stage.own_sequence
            asked = stage.node.chunksize if passes else None
            if stage.policy == "round_robin" and sequence in stage.taken_sequences:
                sizes[root] = 1
            if asked is not None and (stage.kind is not Kind.PIPE or sequence == stage.own_sequence):
                sizes[root] = min(asked, sizes.get(root) or asked)
    return {root: sizes.get(root) for root in roots}


def widths_of(stages: list[Stage], roots: list[int]) -> dict[int, int]:
    """Return, per source or generator filter, how many workers its items pass side by side where they are most."""
    widths = dict.fromkeys(roots, 1)
    for stage in stages:
        width = max(stage.workers, stage.node.branches if stage.kind is Kind.SCATTER else 1)
        for sequence in stage.taken_sequences:
            widths[roots[sequence]] = max(widths[roots[sequence]], width)
    return widths
