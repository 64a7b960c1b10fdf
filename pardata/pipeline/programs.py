"""From a stage of a plan to what its workers run."""

from __future__ import annotations

from typing import Any

from pardata.pipeline.plan import Kind, Plan, Stage
from pardata.pipeline.stages import ItemProgram, PipeProgram, SourceProgram

Program = ItemProgram | PipeProgram | SourceProgram


def program_of(stage: Stage, plan: Plan) -> Program:
    """Return what the workers of a stage run."""
    node = stage.node
    if stage.kind is Kind.SOURCE:
        assert stage.own_domain is not None
        return SourceProgram(stage.name, source_maker(stage.fn), stage.own_domain, plan.chunksizes[stage.own_domain])
    edges = len(stage.edges) if stage.zipped else 1
    if stage.kind is Kind.PIPE:
        assert stage.own_domain is not None and stage.fn is not None
        size = plan.chunksizes[stage.own_domain]
        return PipeProgram(stage.name, stage.fn, stage.own_domain, edges, stage.takes_in_order, size)
    skip, is_filter = node.errors == "skip", stage.kind is Kind.FILTER
    return ItemProgram(stage.name, stage.fn, edges, stage.takes_in_order, node.inplace, is_filter, skip)


def source_maker(items: Any) -> Any:
    """Return a function that returns the iterable of a source."""
    return items if callable(items) and not hasattr(items, "__iter__") else lambda: items


def runs_here(stage: Stage) -> bool:
    """Whether a stage is a thread of the process that runs it: a source that reads an object of this process."""
    return stage.kind is Kind.SOURCE and (not callable(stage.fn) or hasattr(stage.fn, "__iter__"))
