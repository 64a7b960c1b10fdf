"""The reference that other engines are tested against: every stage in the calling thread, one item after the other.

Each stage is a Python generator over batches of one item; a fan-out is `itertools.tee`. Breakpoints and prints in the
user's functions work as in any script.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from pardata.channel.message import Batch
from pardata.engines.local import bars_of, original_error
from pardata.pipeline.failures import Failures
from pardata.pipeline.handover import hand_over
from pardata.pipeline.item_program import ItemProgram
from pardata.pipeline.joining import join_batches
from pardata.pipeline.node import Kind
from pardata.pipeline.ordering import InOrder, Policy
from pardata.pipeline.pipe_program import has_state
from pardata.pipeline.plan import Edge, Plan, Stage
from pardata.pipeline.programs import passed_of, program_of, source_maker
from pardata.pipeline.run import Run, RunOptions
from pardata.pipeline.user_code import close_generator, failure_of, opened
from pardata.runtime.program import StageFailure
from pardata.runtime.progress import RunReport, StageStatistics


class TooManyErrors(BaseException):
    """Leads out of a stage that has failed too often."""

    def __init__(self, verdict: BaseException) -> None:
        super().__init__()
        self.verdict = verdict


class _Port:
    """The counting half of a port, enough for `ItemProgram.process`."""

    def __init__(self, run: SerialRun, stage: Stage) -> None:
        self._run = run
        self._statistics = run._statistics[stage]
        self._turns = itertools.count()

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        self._statistics.items += items
        self._statistics.dropped += dropped
        self._statistics.failed += failed

    def attempt(self, domain: int, number: int) -> None:
        pass

    def report(self, event: tuple[Any, ...]) -> None:
        verdict = self._run._failures.note(event[1], event[2], event[3], self._run._items_of)
        if verdict is not None:
            raise TooManyErrors(verdict)

    def choose(self, branches: int) -> int:
        return next(self._turns) % branches


class SerialRun(Run):
    """A run in the calling thread."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        super().__init__()
        self._plan = plan
        self._statistics = {stage: StageStatistics(stage.name, stage.workers) for stage in plan.stages}
        self._failures = Failures(plan)
        self._stages = {stage.name: stage for stage in plan.stages}
        self._outputs: dict[Stage, Iterator[Iterator[Batch]]] = {}
        self._made: list[Generator[Batch, None, None]] = []
        self._items: list[Any] = []
        self._failure: list[BaseException] = []
        self._inner_s = 0.0
        self._seconds: float | None = None
        self._begin_s = time.perf_counter()
        ends = [self._output(stage) for stage in plan.ends]
        self._batches = ends[0] if len(ends) == 1 else _in_turn(ends, "arrival")
        self._bars = bars_of(plan, options.progress) if options.progress else None

    def __next__(self) -> Any:
        with self._turn:
            while not self._items:
                self._take_more()
            return self._items.pop()

    def _take_more(self) -> None:
        if self._seconds is not None:
            raise StopIteration
        try:
            self._fill()
        except StageFailure as failure:
            self._failure = [original_error(failure)]
            self.close()
        except TooManyErrors as failure:
            self._failure = [failure.verdict]
            self.close()
        except BaseException:
            self.close()
            raise
        if self._failure:  # raised here, where no other error is handled that would be its context
            raise self._failure.pop()

    def _fill(self) -> None:
        batch = next(self._batches, None)
        if batch is None:
            verdict = self._failures.at_end(self._items_of)
            self._failure += [] if verdict is None else [verdict]
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
        statistics, passed = self._statistics[stage], passed_of(stage)
        while True:
            outer_s, self._inner_s = self._inner_s, 0.0
            begin = time.perf_counter()
            batch = next(made, None)
            took = time.perf_counter() - begin
            statistics.busy_s += took - self._inner_s
            self._inner_s = outer_s + took
            if batch is None:
                return
            batch.items, nbytes = hand_over(batch.items, passed=passed, number=batch.number)
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
        return _joined(edges, stage.policy) if stage.zipped else _in_turn(edges, stage.policy)

    def _read(self, edge: Edge, inplace: bool) -> Iterator[Batch]:
        for whole in self._output(edge.stage):
            batch = whole if edge.branch is None or whole.branches is None else whole.select(edge.branch)
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
        except (Exception, SystemExit) as error:
            raise failure_of(error, stage.name, number_at()) from None
        finally:
            if inspect.isgenerator(items):
                close_generator(items)

    def _piped(self, stage: Stage) -> Generator[Batch, None, None]:
        number = -1

        def inputs() -> Iterator[Any]:
            nonlocal number
            for batch in self._inputs(stage):
                number = batch.number
                self._statistics[stage].items += len(batch.items)
                yield from batch.items

        assert stage.fn is not None
        generator_function = copy.copy(stage.fn) if has_state(stage.fn) else stage.fn
        return self._iterated(stage, lambda: generator_function(inputs()), lambda: number)

    def _mapped(self, stage: Stage) -> Generator[Batch, None, None]:
        program = program_of(stage, self._plan)
        assert isinstance(program, ItemProgram)
        port = _Port(self, stage)
        with opened(program.fn, program.retries, stage.name) as fn:
            for batch in self._inputs(stage):
                yield program.process(batch, port, fn)  # type: ignore[arg-type]

    def _items_of(self, stage: str) -> int:
        return self._statistics[self._stages[stage]].items

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            self._bars.update([self._statistics[stage].items for stage in self._plan.worker_stages], final)

    def report(self) -> RunReport:
        seconds = self._seconds if self._seconds is not None else time.perf_counter() - self._begin_s
        statistics = [self._statistics[stage] for stage in self._plan.worker_stages]
        return RunReport(statistics, seconds, self._failures.skipped)

    def close(self) -> None:
        """End the run: the user's generators are closed, the last stage first."""
        if self._is_over():
            return
        with self._turn:
            self._close()

    def _close(self) -> None:
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


def _joined(edges: list[Iterator[Batch]], policy: Policy) -> Iterator[Batch]:
    """Join by number, as they come."""
    order: InOrder[Batch] = InOrder(len(edges))
    for batches in itertools.zip_longest(*edges):
        for index, batch in enumerate(batches):
            if batch is not None:
                order.add(index, batch)
        while (joined := order.pop()) is not None:
            yield join_batches(joined, policy)


def _in_turn(edges: list[Iterator[Batch]], policy: Policy) -> Iterator[Batch]:
    """Interleave, or take one after the other; a single one passes through."""
    if policy == "sequence":
        yield from itertools.chain.from_iterable(edges)
        return
    while edges:
        for edge in list(edges):
            batch = next(edge, None)
            if batch is None:
                edges.remove(edge)
            else:
                yield batch


__all__ = ["SerialRun"]
