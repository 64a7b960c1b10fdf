"""The reference: every stage in the calling thread, one item after the other. What the other engines are tested
against.

Each stage is a Python generator over batches of one item; a fan-out is `itertools.tee`. Breakpoints and prints in
the user's functions work as in any script.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pardata.channel.message import Batch
from pardata.pipeline.plan import Edge, Kind, Plan, Stage
from pardata.pipeline.stages import ItemProgram, zip_batches
from pardata.pipeline.stream import Run
from pardata.runtime.faults import Fault
from pardata.runtime.progress import Bars, RunReport, Skipped, StageStatistics
from pardata.runtime.worker import StageFailure


def iterate_source(items: Any) -> Iterator[Any]:
    """Return the items of a source: a generator function is called."""
    return iter(items() if callable(items) and not hasattr(items, "__iter__") else items)


def protect(item: Any, inplace: bool) -> Any:
    """Return `item` as a stage in another process would get it: arrays read-only, or writable and its own."""
    if type(item) is np.ndarray:
        if inplace:
            return item.copy(order="K")
        seen = item.view()
        seen.setflags(write=False)
        return seen
    if type(item) is tuple:
        return tuple(protect(part, inplace) for part in item)
    return item


class _Port:
    """The counting half of a port, enough for `ItemProgram.process`."""

    def __init__(self, statistics: StageStatistics, on_skipped: Callable[[Skipped], None]) -> None:
        self.statistics = statistics
        self._on_skipped = on_skipped

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        self.statistics.items += items
        self.statistics.dropped += dropped
        self.statistics.failed += failed

    def report(self, event: tuple[Any, ...]) -> None:
        self._on_skipped(Skipped.of(event[1]))


class SerialRun(Run):
    """A run in the calling thread."""

    def __init__(self, plan: Plan, progress: bool) -> None:
        self._plan = plan
        self._statistics = {stage: StageStatistics(stage.name, stage.workers) for stage in plan.worker_stages}
        self._skipped: list[Skipped] = []
        self._begin_s = time.perf_counter()
        self._seconds: float | None = None
        self._outputs: dict[Stage, Iterator[Iterator[Batch]]] = {}
        self._batches = self._output(plan.last)
        self._items: list[Any] = []
        names = [stage.name for stage in plan.worker_stages]
        self._bars = Bars(names, None) if progress else None

    def __next__(self) -> Any:
        if self._seconds is not None:
            raise StopIteration
        try:
            while not self._items:
                self._items = next(self._batches).items
                if self._bars is not None:
                    self._bars.update([statistics.items for statistics in self._statistics.values()])
        except BaseException as error:
            self.close()
            if isinstance(error, StageFailure):
                fault = error.fault
                error.original.add_note(f"in stage {fault.stage!r}, item {fault.number}: {fault.item}")
                raise error.original from error.original.__cause__
            raise
        return self._items.pop()

    def _output(self, stage: Stage) -> Iterator[Batch]:
        """Return the batches of a stage, for one of its consumers."""
        if stage not in self._outputs:
            batches = self._timed(stage, self._made(stage))
            self._outputs[stage] = iter(itertools.tee(batches, max(1, len(stage.consumers))))
        return next(self._outputs[stage])

    def _timed(self, stage: Stage, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches

    def _made(self, stage: Stage) -> Iterator[Batch]:
        if stage.kind is Kind.SOURCE:
            return self._sourced(stage)
        if stage.kind is Kind.PIPE:
            return self._piped(stage)
        return self._mapped(stage)

    def _inputs(self, stage: Stage) -> Iterator[Batch]:
        """Return what a stage takes: paired for a zip, in turn for a merge."""
        edges = [self._renamed(edge) for edge in stage.edges]
        if stage.zipped:
            return (zip_batches(list(batches)) for batches in zip(*edges, strict=True))
        return _in_turn(edges)

    def _renamed(self, edge: Edge) -> Iterator[Batch]:
        for batch in self._output(edge.stage):
            domain = edge.renamed.get(batch.domain, batch.domain)
            yield Batch(domain, batch.number, batch.count, 0, list(batch.items), batch.positions)

    def _sourced(self, stage: Stage) -> Iterator[Batch]:
        statistics = self._statistics[stage]
        items = None
        for number in itertools.count():
            begin = time.perf_counter()
            try:
                items = items if items is not None else iterate_source(stage.fn)
                item = next(items)
            except StopIteration:
                return
            except Exception as error:
                raise StageFailure(Fault.of(error, stage.name, number, ""), error) from None
            statistics.items += 1
            statistics.busy_s += time.perf_counter() - begin
            yield Batch(stage.own_domain or 0, number, 1, 0, [item])

    def _piped(self, stage: Stage) -> Iterator[Batch]:
        statistics = self._statistics[stage]
        outputs = None
        number = -1
        while True:
            try:
                outputs = outputs if outputs is not None else iter(_call(stage)(self._counted(stage)))
                item = next(outputs)
            except StopIteration:
                break
            except StageFailure:
                raise
            except Exception as error:
                raise StageFailure(Fault.of(error, stage.name, statistics.items - 1, ""), error) from None
            number += 1
            yield Batch(stage.own_domain or 0, number, 1, 0, [item])

    def _counted(self, stage: Stage) -> Iterator[Any]:
        for batch in self._inputs(stage):
            for item in batch.items:
                self._statistics[stage].items += 1
                yield protect(item, False)

    def _mapped(self, stage: Stage) -> Iterator[Batch]:
        statistics = self._statistics.get(stage) or StageStatistics(stage.name, 1)
        node = stage.node
        program = ItemProgram(
            stage.name, stage.fn, len(stage.edges), True, node.inplace, stage.kind is Kind.FILTER, node.errors == "skip"
        )
        port = _Port(statistics, self._skipped.append)
        for batch in self._inputs(stage):
            batch.items = [protect(item, node.inplace) for item in batch.items]
            begin = time.perf_counter()
            made = program.process(batch, port)  # type: ignore[arg-type]
            statistics.busy_s += time.perf_counter() - begin
            yield made

    def report(self) -> RunReport:
        seconds = self._seconds if self._seconds is not None else time.perf_counter() - self._begin_s
        return RunReport(list(self._statistics.values()), seconds, list(self._skipped))

    def close(self) -> None:
        if self._seconds is None:
            self._seconds = time.perf_counter() - self._begin_s
            if self._bars is not None:
                self._bars.update([statistics.items for statistics in self._statistics.values()], final=True)
                self._bars.close()
            self._batches = iter(())
            self._outputs.clear()


def _call(stage: Stage) -> Callable[..., Any]:
    assert stage.fn is not None
    return stage.fn


def _in_turn(streams: list[Iterator[Batch]]) -> Iterator[Batch]:
    """Interleave; a single stream passes through."""
    while streams:
        for stream in list(streams):
            batch = next(stream, None)
            if batch is None:
                streams.remove(stream)
            else:
                yield batch


__all__ = ["SerialRun"]
