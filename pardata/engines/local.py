"""Functions that the engines have in common."""

from __future__ import annotations

from typing import Any

from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.totals import totals
from pardata.runtime.carried_errors import add_note
from pardata.runtime.faults import Fault
from pardata.runtime.progress import Bars


def original_error(error: BaseException, fault: Fault) -> BaseException:
    """Return the exception that the user's code raised, with a note of the stage and the item."""
    if isinstance(error, StopIteration):  # it would end the loop of the caller silently (PEP 479)
        told = RuntimeError("the function raised StopIteration")
        told.__cause__, error = error, told
    add_note(error, fault.note)
    return error


def bars_of(plan: Plan, kind: Any) -> Bars:
    """Return a progress bar for each stage: tqdm's own, or the bars of `kind`, a class or function like it."""
    return Bars([stage.name for stage in plan.worker_stages], totals(plan), kind=kind)
