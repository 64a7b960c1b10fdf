"""The number of items that each stage of a plan will take, if it is known before the run. Pure."""

from __future__ import annotations

from typing import Any

from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage


def totals(plan: Plan) -> dict[str, int | None]:
    """Return a number per stage that has workers; None behind filters, branches and sources that do not know."""
    made: dict[Stage, int | None] = {}  # items of its output
    taken: dict[Stage, int | None] = {}
    for stage in plan.stages:
        taken[stage] = _taken(stage, made)
        keeps_all = (
            stage.kind in (Kind.SOURCE, Kind.MAP, Kind.ZIP, Kind.MERGE) and stage.node.on_error.errors == "raise"
        )
        made[stage] = taken[stage] if keeps_all else stage.made_of(taken[stage])
    return {stage.name: taken[stage] for stage in plan.worker_stages}


def _taken(stage: Stage, made: dict[Stage, int | None]) -> int | None:
    if stage.kind is Kind.SOURCE:
        items: Any = stage.fn
        return len(items) if hasattr(items, "__len__") else None
    given = [None if edge.branch is not None else made[edge.stage] for edge in stage.edges]
    known = [count for count in given if count is not None]
    if len(known) < len(given):
        return None
    return min(known) if stage.fanin.policy in ("zip", "position") else sum(known)
