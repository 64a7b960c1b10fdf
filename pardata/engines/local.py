"""Functions that the engines have in common."""

from __future__ import annotations

import traceback

from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.runtime.carried_errors import add_note
from pardata.runtime.faults import Fault
from pardata.runtime.library_limits import usable_cores
from pardata.runtime.recording.record import GraphEdge, RunRecord, Surroundings


def original_error(error: BaseException, fault: Fault) -> BaseException:
    """Return the exception that the user's code raised, with a note of the stage and the item."""
    if isinstance(error, StopIteration):  # it would end the loop of the caller silently (PEP 479)
        told = RuntimeError("the function raised StopIteration")
        told.__cause__, error = error, told
    if fault.note not in getattr(error, "__notes__", ()):  # an error that has come from another machine has it
        add_note(error, fault.note)
    return error


def surroundings_of(
    plan: Plan, engine: str, failure: BaseException | str | None, record: RunRecord | None, limit_bytes: int = 0
) -> Surroundings:
    """Return what pictures of a run show beside its counts; `failure`: what has ended it."""
    read = [(edge, stage) for stage in plan.worker_stages for edge in stage.edges]
    edges = [GraphEdge(edge.stage.name, stage.name, edge.renamed) for edge, stage in read]
    single = [stage.name for stage in plan.worker_stages if stage.kind in (Kind.SOURCE, Kind.GENERATOR)]
    awaiting = tuple(stage.name for stage in plan.worker_stages if stage.node.lanes > 1)
    auto = tuple(stage.name for stage in plan.worker_stages if stage.is_auto)
    error = failure if isinstance(failure, str) else traceback_text(failure)
    return Surroundings(tuple(edges), engine, limit_bytes, tuple(single), awaiting, usable_cores(), error, record, auto)


def traceback_text(error: BaseException | None) -> str:
    """Return an exception with its traceback, as text; "" for none."""
    return "" if error is None else "".join(traceback.format_exception(error))
