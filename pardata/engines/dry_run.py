"""A trial of a plan with one item, in this process: the outputs of each stage, and the time it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from pardata.codec.batch_codec import Batch
from pardata.engines.pulling import Giver
from pardata.engines.serial import SerialRun
from pardata.errors import ConfigError
from pardata.pipeline.dry_run_report import DryEdge, DryRun
from pardata.pipeline.file_sink import FileSink
from pardata.pipeline.npy_writer import NpyWriter
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.build import pairing_of, source_maker
from pardata.pipeline.programs.pairing import Pairing
from pardata.pipeline.queue_items import QueueItems
from pardata.pipeline.run import RunOptions

_PARTS = 3


def _describe(item: Any) -> str:
    """Return kind, shape and dtype of an item; of a few parts, each."""
    if isinstance(item, np.ndarray | np.generic):
        return f"{item.dtype} {item.shape}"
    if isinstance(item, tuple | list) and item:
        more = ", ..." if len(item) > _PARTS else ""
        return f"{type(item).__name__} of {len(item)}: {', '.join(map(_describe, item[:_PARTS]))}{more}"
    return type(item).__name__


def dry_run(plan: Plan, items: tuple[Any, ...]) -> DryRun:
    """Run one item of each source through a plan (see `Stream.dry_run`)."""
    run = _Run(plan, items)
    report = run.finish()
    return DryRun(
        [
            DryEdge(
                stage.name, len(run.found[stage.name]), next(iter(run.found[stage.name]), "nothing"), stage.bytes,
                stage.busy_s,
            )
            for stage in report.stages
        ]
    )  # fmt: skip


class _Run(SerialRun):
    """A serial run that notes the outputs of each stage."""

    def __init__(self, plan: Plan, items: tuple[Any, ...]) -> None:
        self.found: dict[str, list[Any]] = {stage.name: [] for stage in plan.stages}
        sources = [stage for stage in plan.stages if stage.kind is Kind.SOURCE]
        if items and len(items) != len(sources):
            names = ", ".join(repr(stage.name) for stage in sources)
            raise ConfigError(f"dry_run() needs an item for each source ({names}), or none; {len(items)} were given")
        for stage, item in zip(sources, items, strict=False):
            stage.fn = [item]  # type: ignore[assignment]
        for stage in sources[len(items) :]:
            if isinstance(stage.fn, Iterator | QueueItems):
                raise ConfigError(f"source {stage.name!r} can be read only once: give dry_run() an item for it")
            stage.fn = partial(_first, source_maker(stage))
        for stage in plan.stages:
            if stage.kind is Kind.SINK:
                stage.fn = _ignore
            elif isinstance(stage.fn, NpyWriter | FileSink):
                stage.fn = _ignore_all
        super().__init__(plan, RunOptions())

    def _pairing(self, stage: Stage) -> Pairing:
        # One item of each source says nothing of their lengths.
        return Pairing(pairing_of(stage, self._plan), may_be_uneven=True)

    def _hand_on(self, giver: Giver, batch: Batch) -> None:
        super()._hand_on(giver, batch)
        self.found[giver.stage.name] += map(_describe, batch.items)


def _first(make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    yield from islice(make(), 1)


def _ignore(item: Any) -> None:
    """Stand in for a sink."""


def _ignore_all(items: Iterator[Any]) -> Iterator[Any]:
    for _ in items:
        pass
    yield from ()


__all__ = ["dry_run"]
