"""The rules that a graph must keep to be run; each raises `PlanError`. Pure."""

from __future__ import annotations

from pardata.errors import PlanError
from pardata.pipeline.plan.node import Kind, Node
from pardata.pipeline.plan.stage import Stage


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
        above = _upstream(edge.stage)
        if above & seen:
            shared = min(above & seen, key=lambda common: common.index)
            raise PlanError(
                f"{joined.name} ({joined.where}) waits for one of its streams while others are not read, so they "
                f"must not have a common source: {shared.name!r} is one"
            )
        seen |= above


def _upstream(stage: Stage) -> set[Stage]:
    """Return a stage and all that its items come from."""
    seen: set[Stage] = set()
    waiting = [stage]
    while waiting:
        found = waiting.pop()
        if found not in seen:
            seen.add(found)
            waiting += (edge.stage for edge in found.edges)
    return seen


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
