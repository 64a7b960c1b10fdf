"""What the engines that run in this process share."""

from __future__ import annotations

from typing import Any

from pardata.pipeline.node import Kind
from pardata.pipeline.plan import Plan
from pardata.runtime.program import StageFailure


def original_error(failure: StageFailure) -> BaseException:
    """Return what the user's code raised, with a note of the stage and the item."""
    error = failure.original
    if isinstance(error, StopIteration):  # it would end the loop of the caller silently (PEP 479)
        error = RuntimeError("the function raised StopIteration")
        error.__cause__ = failure.original
    error.add_note(failure.fault.note)
    return error


def total_items(plan: Plan) -> int | None:
    """Return how many items a progress bar is to expect: known if there is one source, and it knows."""
    sources: list[Any] = [stage.fn for stage in plan.stages if stage.kind is Kind.SOURCE]
    return len(sources[0]) if len(sources) == 1 and hasattr(sources[0], "__len__") else None
