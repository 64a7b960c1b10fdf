"""The reference that other engines are tested against: every stage in the calling thread, one item after the other.

Each stage is a Python generator over batches of one item; `engines.pulling` resumes the one that is waited for.
Breakpoints and prints in the user's functions work as in any script.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pardata.codec.access import Access
from pardata.codec.batch_codec import Batch
from pardata.engines.local import original_error, surroundings_of, traceback_text
from pardata.engines.nesting import check_nesting
from pardata.engines.pulling import (
    Giver,
    Inputs,
    InterleavedInputs,
    JoinedInputs,
    Made,
    OutputReader,
    PairedInputs,
    Taking,
)
from pardata.engines.serial_cuts import cuts_of
from pardata.engines.serial_port import SerialPort, TooManyErrors
from pardata.pipeline.lifecycle import RunEvent, RunState
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.plan.totals import totals
from pardata.pipeline.programs.build import identity_of, pairing_of, passed_of, program_of, source_maker
from pardata.pipeline.programs.context import StageContext, Taken
from pardata.pipeline.programs.cuts import Clock
from pardata.pipeline.programs.generator import begin_filter, can_restore
from pardata.pipeline.programs.item import ItemProgram
from pardata.pipeline.programs.pairing import Pairing
from pardata.pipeline.programs.reached import begins_of
from pardata.pipeline.programs.user_code import ERRORS, close_generator, failure_of
from pardata.pipeline.run import Run, RunOptions
from pardata.runtime.context import of_thread
from pardata.runtime.isolation import isolate
from pardata.runtime.progress import RunReport, StageStatistics
from pardata.runtime.stage_bars import Bars
from pardata.runtime.worker.program import StageFailure

T = TypeVar("T")


class SerialRun(Run):
    """A run in the calling thread."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        super().__init__()
        self._plan = plan
        self._statistics = {stage: StageStatistics(stage.name, stage.first_workers) for stage in plan.stages}
        self._failures = Failures(plan)
        self._items: list[Any] = []
        self._options = options
        self._failure: list[BaseException] = []
        self._inner_s = 0.0
        self._seconds: float | None = None
        self._begin_s = time.perf_counter()
        check_nesting(plan)
        self._givers: dict[Stage, Giver] = {}
        for stage in plan.stages:
            self._givers[stage] = self._giver(stage)
        self._ends = InterleavedInputs([OutputReader(self._givers[stage]) for stage in plan.ends], "arrival")
        self._bars = Bars(totals(plan), kind=options.progress) if options.progress else None
        self._life.on(RunEvent.BEGIN)

    def __next__(self) -> Any:
        with self._turn:
            while not self._items:
                self._take_more()
            return self._items.pop()

    def _take_more(self) -> None:
        if self._life.state is not RunState.OPEN:
            raise StopIteration
        try:
            self._fill()
        except StageFailure as failure:
            self._failure = [original_error(failure.original, failure.fault)]
            self.close()
        except TooManyErrors as error:
            self._failure = [error.failure]
            self.close()
        except BaseException:
            self.close()
            raise
        if self._failure:  # raised here, where no other error is handled that would be its context
            self._failures.error = traceback_text(self._failure[0])
            raise self._failure.pop()

    def _fill(self) -> None:
        outer = of_thread.context
        try:
            batch = self._run(self._ends.take())
        finally:
            of_thread.context = outer  # the stages have set theirs
        if batch is None:
            failure = self._failures.at_end(self._items_of)
            self._failure += [] if failure is None else [failure]
            self.close()
            return
        self._items = batch.items[::-1]
        if self._bars is not None:
            self._show()

    # -- the stages ------------------------------------------------------------------------------------------------

    def _giver(self, stage: Stage) -> Giver:
        access = self._plan.access(stage)
        readers = [OutputReader(self._givers[edge.stage], edge, access) for edge in stage.edges]
        giver, inputs = Giver(stage, passed_of(stage)), self._inputs(stage, readers)
        if stage.kind is Kind.SOURCE:
            giver.made = self._given(stage)
        elif stage.kind is Kind.GENERATOR:
            giver.made = self._generated(stage, inputs)
        else:
            giver.made = self._mapped(stage, inputs)
        return giver

    def _inputs(self, stage: Stage, readers: list[OutputReader]) -> Inputs:
        policy = stage.fanin.policy
        if policy == "position":
            return PairedInputs(readers, self._pairing(stage))
        if stage.fanin.is_zipped:
            return JoinedInputs(readers, policy, self._plan.following)
        return InterleavedInputs(readers, policy, begins_of(stage, self._plan))

    def _pairing(self, stage: Stage) -> Pairing:
        return Pairing(pairing_of(stage, self._plan))

    def _run(self, taking: Taking[T]) -> T:
        """Run a taking, and each stage that it waits for, to the end; return the taking's value.

        All in one function: a generator filter calls it for its next item, and filters in a row nest these calls.
        """
        waiting: list[OutputReader] = []
        got: Batch | None = None
        while True:
            if not waiting:
                try:
                    waiting.append(taking.send(got))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                got = None
            giver = waiting[-1].giver
            if waiting[-1].batches or giver.has_ended:
                got = waiting.pop().take()
                continue
            outer_s, self._inner_s = self._inner_s, 0.0
            begin = time.perf_counter()
            try:
                made = giver.made.send(got)
            except StopIteration:
                giver.has_ended = True
                continue
            except GeneratorExit as error:  # of the user's code: a stage that is closed is not resumed
                raise failure_of(error, giver.stage.name) from None
            finally:
                got = None
                took = time.perf_counter() - begin
                self._statistics[giver.stage].busy_s += took - self._inner_s  # without the stages in front of it
                self._inner_s = outer_s + took
            if isinstance(made, OutputReader):
                waiting.append(made)
            else:
                self._hand_on(giver, made)

    def _hand_on(self, giver: Giver, batch: Batch) -> None:
        if not self._plan.is_consumer(giver.stage):  # what that hands on are the items that it has got
            batch.items, nbytes = isolate(batch.items, giver.access or Access.READ, giver.passed, batch.number)
            self._statistics[giver.stage].bytes += nbytes
        for reader in giver.readers:
            reader.batches.append(batch)

    def _context(self, stage: Stage) -> StageContext:
        return StageContext(0, identity_of(stage, self._options.random_seed))

    def _given(self, stage: Stage) -> Made:
        begin = self._plan.following.get(stage.own_sequence or 0, 0)
        statistics, cuts = self._statistics[stage], self._plan.cuts
        marks = None if cuts is None else Clock(cuts, begin).mark
        make = source_maker(stage, begin)
        context = self._context(stage)
        return self._iterated(stage, make, lambda: begin + statistics.items, context, Taken(), begin, marks)

    def _iterated(
        self, stage: Stage, make: Callable[[], Iterable[Any]], number_at: Callable[[], int], context: StageContext,
        taken: Taken, begin: int, mark: Callable[[int], int] | None,
    ) -> Made:  # fmt: skip
        """Yield the items of an iterable as batches, with flags of `mark`; an error is one of item `number_at`."""
        items: Iterator[Any] = iter(())
        of_thread.context = context
        try:
            items = iter(make())
            for number, item in enumerate(items, begin):
                self._statistics[stage].items += stage.kind is Kind.SOURCE
                yield Batch(stage.own_sequence or 0, number, 1, 0 if mark is None else mark(number), [item])
                of_thread.context = context  # meanwhile it was another stage's
            if taken.failure is not None:
                raise taken.failure
        except StageFailure:
            raise
        except ERRORS as error:
            raise taken.failure or failure_of(error, stage.name, number_at()) from None
        finally:
            if inspect.isgenerator(items):
                close_generator(items)

    def _generated(self, stage: Stage, taken: Inputs) -> Made:
        number = -1
        context = self._context(stage)
        context.at_work = at_work = Taken()
        cuts = cuts_of(self._plan, stage, self._options.on_cut)

        def inputs() -> Iterator[Any]:
            nonlocal number
            try:
                while (batch := self._run(taken.take())) is not None:
                    if cuts is not None:
                        batch = cuts.take(batch)
                    at_work.batch, number = batch, batch.number
                    self._statistics[stage].items += len(batch.items)
                    batch.items.reverse()
                    of_thread.context = context
                    while batch.items:
                        yield batch.items.pop()
            except (StageFailure, TooManyErrors) as failure:
                at_work.failure = failure
                raise
            if cuts is not None:
                cuts.end()
            at_work.has_ended = True
            of_thread.context = context

        assert stage.fn is not None
        fn = copy.copy(stage.fn) if can_restore(stage.fn) else stage.fn
        begin = 0 if cuts is None else cuts.begin(fn)

        def make() -> Iterable[Any]:
            return iter(()) if cuts is not None and cuts.has_ended else begin_filter(fn, inputs(), stage.name)

        return self._iterated(stage, make, lambda: number, context, at_work, begin, None if cuts is None else cuts.mark)

    def _mapped(self, stage: Stage, inputs: Inputs) -> Made:
        program = program_of(stage, self._plan, self._options.random_seed)
        assert isinstance(program, ItemProgram)
        program.sends_failures = False  # no item is made before it is wanted
        port = SerialPort(self._statistics[stage], self._failures, self._items_of, self._options.on_cut)
        of_thread.context = context = self._context(stage)
        with program.opened() as fn:
            while (batch := (yield from inputs.take())) is not None:
                of_thread.context = context
                yield program.process(batch, port, fn, context)  # type: ignore[arg-type]
            program.end(port, fn)  # type: ignore[arg-type]

    def _items_of(self, stage: str) -> int:
        return next(counts.items for counts in self._statistics.values() if counts.name == stage)

    def _show(self, final: bool = False) -> None:
        if self._bars is not None:
            self._bars.update([self._statistics[stage].items for stage in self._plan.worker_stages], final)

    def report(self) -> RunReport:
        seconds = self._seconds if self._seconds is not None else time.perf_counter() - self._begin_s
        statistics = [self._statistics[stage] for stage in self._plan.worker_stages]
        surroundings = surroundings_of(self._plan, "serial", self._failures.error, None)
        return RunReport(statistics, seconds, self._failures.skipped, surroundings)

    def close(self) -> None:
        """End the run: the user's generators are closed, the last stage first."""
        if self._is_over():
            return
        with self._turn:
            self._close()

    def _close(self) -> None:
        if not self._life.close():
            return
        self._seconds = time.perf_counter() - self._begin_s
        outer = of_thread.context
        for stage in reversed(self._plan.stages):
            self._givers[stage].made.close()
            self._givers[stage].has_ended = True
        of_thread.context = outer
        self._givers.clear()
        self._items.clear()
        self._show(final=True)
        if self._bars is not None:
            self._bars.close()
        self._has_closed()
