"""The start of a run on each engine, by which `pipeline.run` finds it.

An engine is loaded when it is used: a program that runs on processes needs neither of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pardata.process.capacity import loading

if TYPE_CHECKING:
    from pardata.pipeline.dry_run_report import DryRun
    from pardata.pipeline.plan.plan import Plan
    from pardata.pipeline.run import Run, RunOptions


def processes(plan: Plan, options: RunOptions) -> Run:
    """Start it on worker processes."""
    with loading("the first run on processes"):
        from pardata.engines.processes.engine import ProcessRun

    return ProcessRun(plan, options)


def threads(plan: Plan, options: RunOptions) -> Run:
    """Start it on threads."""
    with loading("the first run on threads"):
        from pardata.engines.threads.engine import ThreadRun

    return ThreadRun(plan, options)


def serial(plan: Plan, options: RunOptions) -> Run:
    """Start it in the calling thread."""
    if options.record:
        with loading("the first run with a record"):
            from pardata.engines.recording_serial import RecordingSerialRun

        return RecordingSerialRun(plan, options)
    with loading("the first serial run"):
        from pardata.engines.serial import SerialRun

    return SerialRun(plan, options)


def dry_run(plan: Plan, items: tuple[Any, ...]) -> DryRun:
    """Run one item through it, in the calling thread."""
    with loading("the first dry run"):
        from pardata.engines import dry_run

    return dry_run.dry_run(plan, items)
