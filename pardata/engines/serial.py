"""The reference that other engines are tested against: every stage in the calling thread, one item after the other.

Each stage is a Python generator over batches of one item; a fan-out is `itertools.tee`. Breakpoints and prints in the
user's functions work as in any script.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from pardata.channel.message import Batch
from pardata.engines.local import original_error, total_items
from pardata.pipeline.handover import hand_over
from pardata.pipeline.ordering import InOrder
from pardata.pipeline.plan import Edge, Kind, Plan, Stage
from pardata.pipeline.programs import program_of, source_maker
from pardata.pipeline.stages import ItemProgram, zip_batches
from pardata.pipeline.stream import Run
from pardata.runtime.faults import Fault
from pardata.runtime.program import StageFailure
from pardata.runtime.progress import Bars, RunReport, Skipped, StageStatistics


class _Port:
    """The counting half of a port, enough for `ItemProgram.process`."""

    def __init__(self, statistics: StageStatistics, skipped: list[Skipped]) -> None:
        self._statistics = statistics
        self._skipped = skipped

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        self._statistics.items += items
        self._statistics.dropped += dropped
        self._statistics.failed += failed

    def attempt(self, domain: int, number: int) -> None:
        pass

    def report(self, event: tuple[Any, ...]) -> None:
        self._skipped.append(Skipped.of(event[1]))


class SerialRun(Run):
    """A run in the calling thread."""

    def __init__(self, plan: Plan, progress: bool) -> None:
        self._plan = plan
        self._statistics = {stage: StageStatistics(stage.name, stage.workers) for stage in plan.stages}
        self._skipped: list[Skipped] = []
        self._outputs: dict[Stage, Iterator[Iterator[Batch]]] = {}
        self._made: list[Generator[Batch, None, None]] = []
        self._items: list[Any] = []
        self._failure: list[BaseException] = []
        self._inner_s = 0.0
        self._seconds: float | None = None
        self._begin_s = time.perf_counter()
        self._batches = self._output(plan.last)
        self._bars = Bars([stage.name for stage in plan.worker_stages], total_items(plan)) if progress else None

    def __next__(self) -> Any:
        while not self._items:
            if self._seconds is not None:
                raise StopIteration
            try:
                self._fill()
            except StageFailure as failure:
                self._failure = [original_error(failure)]
                self.close()
            except BaseException:
                self.close()
                raise
            if self._failure:  # raised here, where no other error is handled that would be its context
                raise self._failure.pop()
        return self._items.pop()

    def _fill(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            self.close()
            return
        self._items = batch.items[::-1]
        self._show()

    def _output(self, stage: Stage) -> Iterator[Batch]:
        """Return the batches of a stage, for one of its consumers."""
        if stage not in self._outputs:
            made = self._make(stage)
            self._made.append(made)
            self._outputs[stage] = iter(itertools.tee(self._measured(stage, made), max(1, len(stage.consumers))))
        return next(self._outputs[stage])

    def _measured(self, stage: Stage, made: Iterator[Batch]) -> Iterator[Batch]:
        """Hand the batches over, and count the time that the stage took, without the stages in front of it."""
        statistics = self._statistics[stage]
        while True:
            outer_s, self._inner_s = self._inner_s, 0.0
            begin = time.perf_counter()
            batch = next(made, None)
            took = time.perf_counter() - begin
            statistics.busy_s += took - self._inner_s
            self._inner_s = outer_s + took
            if batch is None:
                return
            batch.items, nbytes = hand_over(batch.items)
            statistics.bytes += nbytes
            yield batch

    def _make(self, stage: Stage) -> Generator[Batch, None, None]:
        if stage.kind is Kind.SOURCE:
            return self._iterated(stage, source_maker(stage.fn), lambda: self._statistics[stage].items)
        if stage.kind is Kind.PIPE:
            return self._piped(stage)
        return self._mapped(stage)

    def _inputs(self, stage: Stage) -> Iterator[Batch]:
        """Return what a stage takes: paired for a zip, in turn for a merge."""
        edges = [self._read(edge, stage.node.inplace) for edge in stage.edges]
        return _paired(edges) if stage.zipped else _in_turn(edges)

    def _read(self, edge: Edge, inplace: bool) -> Iterator[Batch]:
        for batch in self._output(edge.stage):
            items, _ = hand_over(list(batch.items), inplace)
            domain = edge.renamed.get(batch.domain, batch.domain)
            yield Batch(domain, batch.number, batch.count, 0, items, batch.positions)

    def _iterated(
        self, stage: Stage, make: Callable[[], Iterable[Any]], number_at: Callable[[], int]
    ) -> Generator[Batch, None, None]:
        """Yield what the user's iterable does; `number_at` says which item is to blame for an error."""
        items: Iterator[Any] = iter(())
        try:
            items = iter(make())
            for number, item in enumerate(items):
                self._statistics[stage].items += stage.kind is Kind.SOURCE
                yield Batch(stage.own_domain or 0, number, 1, 0, [item])
        except StageFailure:
            raise
        except Exception as error:
            raise StageFailure(Fault.of(error, stage.name, number_at()), error) from None
        finally:
            if inspect.isgenerator(items):
                items.close()

    def _piped(self, stage: Stage) -> Generator[Batch, None, None]:
        number = -1

        def inputs() -> Iterator[Any]:
            nonlocal number
            for batch in self._inputs(stage):
                number = batch.number
                self._statistics[stage].items += len(batch.items)
                yield from batch.items

        assert stage.fn is not None
        generator_function = stage.fn
        return self._iterated(stage, lambda: generator_function(inputs()), lambda: number)

    def _mapped(self, stage: Stage) -> Generator[Batch, None, None]:
        program = program_of(stage, self._plan)
        assert isinstance(program, ItemProgram)
        port = _Port(self._statistics[stage], self._skipped)
        for batch in self._inputs(stage):
            yield program.process(batch, port)  # type: ignore[arg-type]

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            self._bars.update([self._statistics[stage].items for stage in self._plan.worker_stages], final)

    def report(self) -> RunReport:
        seconds = self._seconds if self._seconds is not None else time.perf_counter() - self._begin_s
        skipped = sorted(self._skipped, key=lambda item: (item.stage, item.number))
        return RunReport([self._statistics[stage] for stage in self._plan.worker_stages], seconds, skipped)

    def close(self) -> None:
        """End the run: the user's generators are closed, the last stage first."""
        if self._seconds is not None:
            return
        self._seconds = time.perf_counter() - self._begin_s
        for made in self._made:
            made.close()
        self._batches = iter(())
        self._outputs.clear()
        self._made.clear()
        self._items.clear()
        self._show(final=True)
        if self._bars is not None:
            self._bars.close()


def _paired(edges: list[Iterator[Batch]]) -> Iterator[Batch]:
    """Pair by number, as they come."""
    order: InOrder[Batch] = InOrder(len(edges))
    for batches in itertools.zip_longest(*edges):
        for index, batch in enumerate(batches):
            if batch is not None:
                order.add(index, batch)
        while (paired := order.pop()) is not None:
            yield zip_batches(paired)


def _in_turn(edges: list[Iterator[Batch]]) -> Iterator[Batch]:
    """Interleave; a single one passes through."""
    while edges:
        for edge in list(edges):
            batch = next(edge, None)
            if batch is None:
                edges.remove(edge)
            else:
                yield batch


__all__ = ["SerialRun"]
