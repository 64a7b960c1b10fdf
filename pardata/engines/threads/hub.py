"""The state that the threads of a run share.

      source --publish--> inbox --take--> worker --publish--> inbox --take--> the caller
        '------- token <-------------------------------------------- commit --'

An inbox is one queue for all workers of its stage, in the order in which the stage takes: the next batch goes to
the first worker that is free. All of it changes under one lock, held for a few lines; every wait is on a condition of
that lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from pardata.channel.window import Window
from pardata.engines.threads.inbox import Inbox, ThreadTokens
from pardata.pipeline.plan.failures import Failures
from pardata.pipeline.plan.ordering import Arrival
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.build import program_of
from pardata.runtime.events import CutPassed
from pardata.runtime.library_limits import share_cores
from pardata.runtime.progress import StageStatistics


class Hub:
    """The shared state of a run's threads. They hold the hub and not the run, so that a run which is dropped ends."""

    def __init__(
        self, plan: Plan, window: Window, seed: int, on_cut: Callable[[CutPassed], None] | None = None
    ) -> None:
        self.lock = threading.RLock()  # the garbage collector may end a run wherever a thread is
        self.cancelled = False
        self.is_disturbed = False  # it was cancelled, or a batch may have a failed item: what is taken is looked at
        self.failure: BaseException | None = None
        self.largest_bytes = 0  # of a batch that was sent
        self.failures = Failures(plan)
        self.on_cut = on_cut
        self.statistics: dict[Stage, list[StageStatistics]] = {stage: [] for stage in plan.worker_stages}
        self._stages = {stage.name: stage for stage in plan.stages}
        self.plan = plan
        self.roots = plan.roots
        self.cores = share_cores(plan.at_work(plan.worker_stages))
        self.programs = {stage: program_of(stage, plan, seed) for stage in plan.stages}
        self.inboxes: dict[Stage | None, Inbox] = {
            stage: Inbox(
                self.lock,
                program.order(plan.following),
                _senders(stage),
                getattr(program, "awaits", False),
                stage.first_workers,
                stage.workers if stage.is_auto else 1,
            )
            for stage, program in self.programs.items()
        }
        ends = sum(stage.first_workers for stage in plan.worker_stages if not stage.consumers)
        # Without a consumer the caller waits here: no batch ever comes, only the end of all senders.
        self.inboxes[None] = Inbox(self.lock, Arrival(), [ends])
        retired = [plan.roots[sequence] for stage in plan.stages for sequence in stage.retired_sequences]
        self.tokens = {root: ThreadTokens(self.lock, window, retired.count(root)) for root in plan.roots}

    def cancel(self, failure: BaseException | None = None) -> None:
        """Have every thread leave, and drop all waiting batches; the caller gets the first of several failures."""
        with self.lock:
            if not self.cancelled:
                self.cancelled, self.failure = True, failure
            self.is_disturbed = True
            for inbox in self.inboxes.values():
                inbox.order = Arrival()
                inbox.changed.notify_all()
            for tokens in self.tokens.values():
                tokens.changed.notify_all()

    def items_of(self, stage: str) -> int:
        """Return how many items a stage has taken."""
        return sum(part.items for part in self.statistics[self._stages[stage]])

    def check_at_end(self) -> None:
        """Fail a run of which too many items were skipped."""
        failure = self.failures.at_end(self.items_of)
        if failure is not None:
            self.cancel(failure)

    def take_failure(self) -> BaseException:
        """Return the failure, to be raised, and forget it: its traceback holds the hub, which would be a cycle."""
        assert self.failure is not None
        failure, self.failure = self.failure, None
        return failure


def _senders(stage: Stage) -> list[int]:
    """Return how many workers send to a stage at first, per input that it tells apart."""
    workers = [edge.stage.first_workers for edge in stage.edges]
    return workers if stage.fanin.edges > 1 else [sum(workers)]
