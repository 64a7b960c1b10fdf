"""The rules that a graph must keep to be run; each raises `PlanError`. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import PlanError
from pardata.pipeline.plan.file_writer import FileWriter
from pardata.pipeline.plan.node import Counted, Kind, Node
from pardata.pipeline.plan.stage import Stage

_BY_TURNS: Final = ("sequence", "position", "round_robin")  # policies of joins that read one stream while others wait


def check_zip(stage: Stage, joined: Node) -> None:
    """Refuse a zip of streams whose numbers do not mean the same items."""
    first = stage.edges[0].stage
    others = [edge.stage for edge in stage.edges]
    does = "pairs items" if joined.kind is Kind.ZIP else "puts items in order"
    if any(other.sequences != first.sequences for other in others):
        raise PlanError(
            f"{joined.name} ({joined.where}) {does} by their number, so its streams must come from the same "
            f"source, and nothing that numbers items anew may lie in between (a generator filter, batch, window, "
            f"flat_map, concat): {', '.join(other.name for other in others)} do not"
            + (' (pardata.zip(..., by="position") pairs streams of several sources)' if joined.kind is Kind.ZIP else "")
        )
    if any(other.keys != first.keys for other in others):
        raise PlanError(
            f"{joined.name} ({joined.where}) {does} by their number, and behind a merge in the order of numbers "
            f"one number may stand for several: {', '.join(other.name for other in others)} cannot be compared"
        )


def check_turns(stage: Stage, joined: Node) -> None:
    """Refuse inputs that wait for each other: while one is read the source of both would stand still."""
    seen: set[Stage] = set()
    for edge in stage.edges:
        above = edge.stage.upstream
        if above & seen:
            shared = min(above & seen, key=lambda common: common.index)
            raise PlanError(
                f"{joined.name} ({joined.where}) waits for one of its streams while others are not read, so they "
                f"must not have a common source: {shared.name!r} is one"
                + (' (without by="position" its items are paired by number)' if joined.policy == "position" else "")
            )
        seen |= above


def check_positions(stage: Stage, joined: Node) -> None:
    """Refuse a zip by position of streams whose numbers are no positions, or that have a common source."""
    check_turns(stage, joined)
    for edge in stage.edges:
        if len(edge.stage.sequences) > 1 or edge.stage.keys:
            raise PlanError(
                f"{joined.name} ({joined.where}) pairs items by position, and behind a merge they have none: number "
                f"those of {edge.stage.name!r} anew by a generator filter"
            )
    counts = {edge.stage.name: _count_of(edge.stage) for edge in stage.edges}
    if len({count for count in counts.values() if count is not None}) > 1:
        told = ", ".join(f"{name!r} {'?' if count is None else count}" for name, count in counts.items())
        raise PlanError(
            f"{joined.name} ({joined.where}) pairs items by position, and its streams have different numbers of items: "
            f"{told}: cut the longer one off with take(n)"
        )


def _count_of(stage: Stage) -> int | None:
    """Return how many numbers the items of a stage have, if that is known: those that were dropped count.

    They do not for a generator filter, which numbers what it makes of those that are left.
    """
    filters: list[Stage] = []
    while stage.kind in (Kind.MAP, Kind.FILTER, Kind.GENERATOR) and len(stage.edges) == 1:
        keeps_all = stage.kind is Kind.MAP and stage.node.on_error.errors == "raise"
        if stage.kind is Kind.GENERATOR:
            filters.append(stage)
        elif filters and not keeps_all:
            return None
        stage = stage.edges[0].stage
    items: Any = stage.fn
    count = len(items) if isinstance(items, Sequence | np.ndarray | Counted) else None
    for made in reversed(filters):
        count = made.made_of(count)
    return count


def check_inplace(stage: Stage) -> None:
    """Refuse a stage that changes arrays which others read as well."""
    for edge in stage.edges:
        readers = [
            reader
            for reader in dict.fromkeys(edge.stage.consumers)
            for other in reader.edges
            if other.stage is edge.stage and other.branch == edge.branch
        ]
        if len(readers) > 1:
            others = ", ".join(sorted({other.name for other in readers if other is not stage})) or stage.name
            raise PlanError(
                f"stage {stage.name!r} ({stage.node.where}) wants to change its input in place, but {others} "
                f"reads the output of {edge.stage.name!r} as well"
            )


def check_branches(stage: Stage, taken: set[int | None]) -> None:
    """Refuse a branch without a reader: its items would be lost. `taken`: the branches that the run itself takes."""
    read = taken | {edge.branch for reader in stage.consumers for edge in reader.edges if edge.stage is stage}
    unread = set(range(stage.node.branches)) - read
    if unread and stage.node.on_error.errors == "stream":
        raise PlanError(
            f'stage {stage.name!r} ({stage.node.where}) has errors="stream", so both the stream and its `failed` '
            f"must be read: one of them is not"
        )
    if unread:
        raise PlanError(
            f"{stage.name} ({stage.node.where}): nobody reads branch {', '.join(map(str, sorted(unread)))} of "
            f"{stage.node.branches}"
        )


def check_sequences(stages: list[Stage]) -> None:
    """Refuse a concat beside a join that reads the same sources by turns: each would wait for what the other leaves."""
    joins = [stage for stage in stages if len(stage.edges) > 1 and stage.fanin.policy in _BY_TURNS]
    places = {
        stage: {above: place for place, edge in enumerate(stage.edges) for above in edge.stage.upstream}
        for stage in joins
    }
    for concat in (stage for stage in joins if stage.fanin.policy == "sequence"):
        for other in joins:
            is_same = other.fanin.policy == "sequence"
            shared = [
                (place, above) for above, place in places[concat].items() if above in places[other] and not above.edges
            ]
            for (first, one), (then, two) in itertools.pairwise(shared):
                ahead = places[other][two] - places[other][one]
                if first < then and (ahead < 0 if is_same else ahead != 0):
                    raise PlanError(
                        f"{concat.name} ({concat.node.where}) reads {one.name!r} to its end before {two.name!r}, and "
                        f"{other.name} ({other.node.where}) needs items of both at once: give each its own sources"
                    )


def check_files(stages: list[Stage]) -> None:
    """Refuse two sinks that make one file."""
    writers: dict[str, Stage] = {}
    for stage in stages:
        path = stage.fn.path if isinstance(stage.fn, FileWriter) else ""
        other = writers.setdefault(path, stage)
        if path and other is not stage:
            raise PlanError(
                f"{stage.node.name} ({stage.node.where}) is to make {path}, as {other.node.name} ({other.node.where}) "
                f"is: give it another name, or merge the streams"
            )


def check_scatters(stages: list[Stage], taken: set[Stage]) -> None:
    """Refuse a `take` on one branch of a scatter: behind its end the branch is always free, and gets most of the items.

    `taken`: the stages of which the run itself takes a branch.
    """
    scatters = [stage for stage in stages if stage.kind is Kind.SCATTER and stage.node.branches > 1]
    ends = [stage for stage in stages if getattr(stage.fn, "ends_early", False)] if scatters else []
    for end in ends:
        above = end.upstream
        for scatter in scatters:
            if scatter in above and (scatter in taken or not above.issuperset(scatter.consumers)):
                raise PlanError(
                    f"{end.name} ({end.node.where}) ends one branch of {scatter.name} ({scatter.node.where}), which "
                    f"would take items from the other branches then, and drop them: partition shares the items by a "
                    f"key, whoever is free; or put the take before the scatter, or behind a merge of all its branches"
                )
