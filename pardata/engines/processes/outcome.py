"""The failure of a run on processes: decided from the workers' errors and deaths, and from the skipped items."""

from __future__ import annotations

from collections.abc import Callable

from pardata.engines.processes.local_worker import LocalWorker
from pardata.engines.processes.parts import Parts
from pardata.engines.processes.report import Statistics
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.runtime.events import CutPassed, Failed, ItemSkipped, WorkerEvent
from pardata.runtime.poison_items import POISON_BYTES, explain, note_poison_item
from pardata.runtime.supervisor import Lost, Worker
from pardata.runtime.worker.spec import POISON_AT


class RunOutcome:
    """Takes in the workers' reports and deaths, and decides whether the run goes on.

    Attributes
    ----------
    failure : BaseException, optional
        The first one: the loop raises it. None while the run goes on.
    """

    def __init__(
        self,
        plan: Plan,
        parts: Parts,
        statistics: Statistics,
        failures: Failures,
        on_cut: Callable[[CutPassed], None] | None = None,
        on_skip: Callable[[ItemSkipped], None] | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._parts = parts
        self._statistics = statistics
        self._failures = failures
        self._on_cut = on_cut
        self._on_skip = on_skip
        self._sends_failures = plan.sends_failures
        self._stages = {stage.name: stage for stage in plan.stages}
        self._poison_items: set[tuple[int, int]] = set()

    def on_event(self, worker: Worker, event: WorkerEvent) -> None:
        """Take in the report of a process."""
        if isinstance(event, ItemSkipped):
            self._skip(event)
        elif isinstance(event, Failed):
            self._fail(event.fault.exception())
        elif isinstance(event, CutPassed):
            self._note_cut(event)

    def hear(self, local: LocalWorker) -> bool:
        """Take in the next report of a thread; return False if it has ended."""
        event = local.hear()
        if event is None:
            return False
        if isinstance(event, ItemSkipped):
            self._skip(event)
        elif isinstance(event, Failed):
            self._fail(local.error or event.fault.exception())
        elif isinstance(event, CutPassed):
            self._note_cut(event)
        return True

    def on_lost(self, lost: Lost) -> None:
        """Go on without the item that is to blame, where that was asked for; else the run fails."""
        stage = self._stages[lost.worker.stage]
        label = f"stage {stage.name!r}"
        sends_failures = self._sends_failures(stage) and stage.kind in (Kind.MAP, Kind.FILTER, Kind.PARTITION)
        is_told = sends_failures or stage.node.on_error.errors != "raise"  # by the next process, in place of the item
        is_spared = is_told and not stage.node.inplace and lost.spent is None
        if lost.batch is not None and is_spared and lost.batch not in self._poison_items:
            self._skip_poison_item(lost, lost.batch)
        elif lost.batch is not None and lost.timeout_s:
            self._fail(explain(label, f"item {lost.batch[1]}", lost.deaths, lost.status, lost.timeout_s))
        else:
            self._fail(lost.error(label))

    def _skip_poison_item(self, lost: Lost, batch: tuple[int, int]) -> None:
        """Have the next process of a worker skip the item that has killed it."""
        supervisor = self._parts.supervisor
        assert supervisor is not None
        self._poison_items.add(batch)  # if its worker dies of it once more, the user's function was not the cause
        span = self._parts.processes[lost.worker]
        words = span.words(self._parts.heap.segment, POISON_AT, POISON_BYTES // 8)
        note_poison_item(words, batch, lost.deaths, lost.status, lost.timeout_s)
        supervisor.restart(lost.worker)

    def check_at_end(self) -> None:
        """Fail a complete run of which too many items were skipped."""
        self.failure = self.failure or self._failures.at_end(self._statistics.items_of)

    def _note_cut(self, event: CutPassed) -> None:
        assert self._on_cut is not None
        try:
            self._on_cut(event)
        except Exception as error:  # the disk is full
            self._fail(error)

    def _skip(self, event: ItemSkipped) -> None:
        if self._on_skip is not None:
            self._on_skip(event)
            return
        failure = self._failures.note(event.fault, event.sequence, event.is_listed, self._statistics.items_of)
        if failure is not None:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        if self.failure is None:
            self.failure = failure
