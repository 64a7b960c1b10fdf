"""The rules that a graph must keep to be run with a checkpoint; each raises `PlanError`, with what to do. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pardata.errors import PlanError
from pardata.pipeline.plan.file_writer import FileWriter
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage


def check_resumable(plan: Plan, is_queue: Callable[[Any], bool], can_restore: Callable[[Any], bool]) -> None:
    """Refuse a plan that has a stage which cannot be brought back to a cut."""
    for stage in plan.stages:
        _check_source(stage, is_queue)
        if stage.kind is Kind.SCATTER and stage.node.branches > 1:
            _refuse(stage, "who gets an item is another one each time: use workers=, or partition by a key")
        if stage.kind in (Kind.GENERATOR, Kind.SINK):
            _check_order(stage)
            _check_meeting(stage, plan)
        if isinstance(stage.fn, FileWriter) and (why_not := stage.fn.why_not()):
            _refuse(stage, why_not)
        if stage.kind is Kind.GENERATOR and not stage.consumers and not isinstance(stage.fn, FileWriter):
            _refuse(
                stage,
                "a sink is a .npy or .zarr file, or a function, with commit() and restore(state) for exactly once",
            )
        if stage.kind is Kind.GENERATOR and not can_restore(stage.fn):
            _refuse(stage, "its state is lost with its process: give an object with snapshot() and restore(state)")
        if stage.kind is Kind.SINK:
            _check_sink(stage)
        elif not stage.consumers and not isinstance(stage.fn, FileWriter):
            _refuse(stage, "it is the last stage and no sink: what it has done is known of a sink only: use to(...)")


def _check_source(stage: Stage, is_queue: Callable[[Any], bool]) -> None:
    if stage.kind is not Kind.SOURCE:
        return
    items: Any = stage.fn
    if is_queue(items):
        _refuse(stage, "a queue does not give its items again: put them into a list or a file first")
    if isinstance(items, Iterator):
        _refuse(stage, "an iterator gives its items once: give a list, an array, a file or a generator function")
    if isinstance(items, set | frozenset):
        _refuse(stage, "the order of a set is another one in each process: give sorted(...) of it")


def _check_meeting(stage: Stage, plan: Plan) -> None:
    """Refuse a stage whose inputs may be at different cuts, if the items between them are others the next time."""
    if len(stage.taken_sequences) < 2:
        return
    for sequence in sorted(stage.taken_sequences):
        begin = next(other for other in plan.stages if other.own_sequence == plan.roots[sequence])
        if any(_mixes(above) for above in begin.upstream):
            _refuse(
                stage,
                f"beside others it gets the items of {begin.name!r}, which numbers them behind a merge by arrival, so "
                f'they are others each time: use merge(..., policy="round_robin") or "ordered", or merge all at once',
            )


def _mixes(stage: Stage) -> bool:
    """Return whether a stage takes its inputs as they come."""
    return len(stage.edges) > 1 and stage.fanin.policy in ("arrival", "fair")


def _check_order(stage: Stage) -> None:
    late = next((edge.stage for edge in stage.edges if not edge.stage.ordered), None)
    if late is not None and not stage.fanin.is_zipped:
        _refuse(stage, f"it gets its items out of order, from {late.name!r}: leave out ordered=False there")


def function_within(fn: Any) -> Any:
    """Return the function that a `functools.partial` calls, or `fn` itself."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn


def _check_sink(stage: Stage) -> None:
    fn = function_within(stage.fn)
    if isinstance(getattr(fn, "__self__", None), list | set | dict | deque):
        _refuse(stage, "what a list of this process holds is lost with it: write to a file, or to a function")
    why_not: Any = getattr(getattr(fn, "__self__", None), "_why_not", "")  # of a file that is open in this process
    if isinstance(why_not, str) and why_not:
        _refuse(stage, why_not)
    if stage.node.concurrency:
        _refuse(stage, "calls of a coroutine function end in any order: map it, and give to(...) a plain function")


def _refuse(stage: Stage, why: str) -> None:
    raise PlanError(f"checkpoint=: stage {stage.name!r} ({stage.node.where}) cannot take part: {why}")
