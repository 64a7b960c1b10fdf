"""The table of engines: streams look them up there and import none of them.

Each is loaded when it is used: a program that runs on processes needs neither of the others.
"""

from __future__ import annotations

from typing import Any

from pardata.pipeline import run
from pardata.pipeline.dry_run_report import DryRun
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import Run, RunOptions


def _processes(plan: Plan, options: RunOptions) -> Run:
    from pardata.engines.processes.engine import ProcessRun

    return ProcessRun(plan, options)


def _threads(plan: Plan, options: RunOptions) -> Run:
    from pardata.engines.threads.engine import ThreadRun

    return ThreadRun(plan, options)


def _serial(plan: Plan, options: RunOptions) -> Run:
    if options.record:
        from pardata.engines.recording_serial import RecordingSerialRun

        return RecordingSerialRun(plan, options)
    from pardata.engines.serial import SerialRun

    return SerialRun(plan, options)


def _dry_run(plan: Plan, items: tuple[Any, ...]) -> DryRun:
    from pardata.engines.dry_run import dry_run

    return dry_run(plan, items)


def enter_engines() -> None:
    """Enter all of them."""
    run.engines.update(processes=_processes, threads=_threads, serial=_serial)
    run.dry_run = _dry_run
