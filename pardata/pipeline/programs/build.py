"""Makes the programs of the stages of a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pardata.pipeline.plan.error_policy import Errors
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.awaiting import AwaitingProgram
from pardata.pipeline.programs.batch_size import Sizes
from pardata.pipeline.programs.context import StageIdentity
from pardata.pipeline.programs.cuts import FilterCuts
from pardata.pipeline.programs.generator import GeneratorProgram, is_redoable
from pardata.pipeline.programs.item import ItemProgram
from pardata.pipeline.programs.own import OwnProgram
from pardata.pipeline.programs.pairing import Paired
from pardata.pipeline.programs.reached import Reached, begins_of
from pardata.pipeline.programs.sink import SinkCuts, SinkProgram, takes_part
from pardata.pipeline.programs.source import SourceProgram
from pardata.pipeline.queue_items import QueueItems
from pardata.pipeline.source_items import is_factory, items_from
from pardata.runtime.native import native_items
from pardata.runtime.passed import Passed

StageProgram = ItemProgram | GeneratorProgram | SourceProgram


def identity_of(stage: Stage, seed: int) -> StageIdentity:
    """Return the context of the workers of a stage, as far as they have it in common."""
    return StageIdentity(seed, stage.index, stage.name, stage.workers)


def program_of(stage: Stage, plan: Plan, seed: int) -> StageProgram:
    """Return the program that the workers of a stage run; `seed`: of the run's random numbers."""
    if isinstance(stage.fn, OwnProgram):
        return stage.fn.program(stage, plan, seed)  # type: ignore[no-any-return]
    identity = identity_of(stage, seed)
    if stage.kind is Kind.SOURCE:
        return _source_program(stage, plan, identity)
    if stage.kind is Kind.GENERATOR:
        return _filter_program(stage, plan, identity)
    return _item_program(stage, plan, identity)


def _source_program(stage: Stage, plan: Plan, identity: StageIdentity) -> SourceProgram:
    assert stage.own_sequence is not None
    begin = plan.following.get(stage.own_sequence, 0)
    make, sizes = source_maker(stage, begin), _sizes(stage, plan)
    return SourceProgram(
        stage.name, make, stage.own_sequence, sizes, identity, begin, plan.cuts, plan.sends_failures(stage)
    )


def _filter_program(stage: Stage, plan: Plan, identity: StageIdentity) -> GeneratorProgram:
    assert stage.own_sequence is not None and stage.fn is not None
    sizes, pairing, cuts = _sizes(stage, plan), pairing_of(stage, plan), filter_cuts(stage, plan)
    return GeneratorProgram(
        stage.name, stage.fn, stage.own_sequence, stage.fanin, sizes, identity, pairing, stage.is_sole_reader,
        is_redoable(stage), plan.sends_failures(stage), cuts,
    )  # fmt: skip


def _item_program(stage: Stage, plan: Plan, identity: StageIdentity) -> ItemProgram:
    node = stage.node
    errors = node.on_error.errors if stage.fn is not None else _errors_behind(stage)
    options = (
        stage.name, stage.fn, stage.kind, stage.fanin, node.inplace, errors, node.on_error.retries, node.branches,
        identity, node.writable, plan.sends_failures(stage),
    )  # fmt: skip
    if node.concurrency and stage.fn is node.fn:  # a trial of the plan has functions of its own
        return AwaitingProgram(*options, node.concurrency, node.on_error.timeout_s)
    if plan.cuts is not None and stage.kind is Kind.SINK:
        reached = Reached.of(stage, plan, plan.cuts)
        return SinkProgram(SinkCuts(plan.cuts, stage.index, reached, stage.name, takes_part(stage.fn)), *options)
    return ItemProgram(*options)


def filter_cuts(stage: Stage, plan: Plan) -> FilterCuts | None:
    """Return the cuts of a filter, if the run makes any."""
    if plan.cuts is None:
        return None
    return FilterCuts(plan.cuts, stage.index, Reached.of(stage, plan, plan.cuts), begins_of(stage, plan))


def pairing_of(stage: Stage, plan: Plan) -> list[Paired]:
    """Return the streams that a stage pairs by position."""
    if stage.fanin.policy != "position":
        return []
    sequences = [min(edge.stage.sequences) for edge in stage.edges]
    following = plan.following
    return [
        Paired(edge.stage.name, sequence, following.get(sequence, 0))
        for edge, sequence in zip(stage.edges, sequences, strict=True)
    ]


def _errors_behind(stage: Stage) -> Errors:
    """Return how a join treats items that cannot be loaded: as the stages behind it would."""
    is_skipped = bool(stage.consumers) and all(reader.node.on_error.errors != "raise" for reader in stage.consumers)
    return "skip" if is_skipped else "raise"


def _sizes(stage: Stage, plan: Plan) -> Sizes:
    assert stage.own_sequence is not None
    return Sizes(plan.chunksizes[stage.own_sequence], plan.widths[stage.own_sequence])


def source_maker(stage: Stage, begin: int = 0) -> Callable[..., Iterator[Any]]:
    """Return a function that begins to iterate a source, with item `begin`.

    It may be given a function, which is called while the source is a queue without an item, and may raise.
    """
    items: Any = stage.fn
    make = items if is_factory(items) else lambda: items
    if begin:
        make = partial(items_from, items, begin, stage.name)
    return partial(_begin, make, stage.node.native)


def _begin(make: Callable[[], Iterable[Any]], is_native: bool, poll: Callable[[], None] | None = None) -> Iterator[Any]:
    if is_native:
        return native_items(partial(_begin, make, False, poll))
    made = make()
    return made.reading(poll) if isinstance(made, QueueItems) and poll is not None else iter(made)


def passed_of(stage: Stage) -> Passed | None:
    """Return the check that a generator does not yield one object as several items; None if it is not needed."""
    is_generator = stage.own_sequence is not None and not isinstance(stage.fn, list | tuple)
    return Passed(stage.name) if is_generator else None
