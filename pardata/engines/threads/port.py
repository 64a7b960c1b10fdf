"""The port through which a stage's program takes, publishes and commits in a thread (`threads.hub` draws the way)."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any, NamedTuple

from pardata.codec.access import Access
from pardata.codec.batch_codec import INLINE_BYTES, Batch
from pardata.engines.local import original_error
from pardata.engines.threads.hub import Hub
from pardata.engines.threads.inbox import Inbox
from pardata.engines.threads.times import ThreadTimes
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Edge, Stage
from pardata.pipeline.programs.build import StageProgram, passed_of
from pardata.runtime.admission.item_sizes import ItemSizes
from pardata.runtime.carried_errors import add_note
from pardata.runtime.events import CutPassed, Failed, ItemSkipped, WorkerEvent
from pardata.runtime.faults import exit_as_error
from pardata.runtime.isolation import isolate
from pardata.runtime.library_limits import limit_thread
from pardata.runtime.progress import StageStatistics
from pardata.runtime.worker.program import Cancelled, FailedItem, StageFailure, UnloadableError
from pardata.runtime.worker.reader import Unloaded
from pardata.runtime.worker.state import Saved


class _Output(NamedTuple):
    """An output of a stage: the input of another stage to which its batches go."""

    inbox: Inbox
    edge: int
    renamed: dict[int, int]
    access: Access
    branch: int | None


class ThreadPort:
    """The port (`pipeline.programs.batcher.Port`) of one thread."""

    last_bytes = 0
    message_bytes = INLINE_BYTES  # nothing is gained by more large arrays in one message
    is_thread = True

    def __init__(self, hub: Hub, stage: Stage, inbox: Inbox, index: int = 0) -> None:
        self.index = index
        self.lock = threading.RLock()  # the timer of a source
        self.statistics = StageStatistics(stage.name, 1)
        self.passed = passed_of(stage)
        self._hub = hub
        self._stage = stage
        self._inbox = inbox
        self._outputs = [
            _Output(
                hub.inboxes[reader],
                index if reader.fanin.edges > 1 else 0,
                edge.renamed,
                _access(hub.plan, stage, reader, edge),
                edge.branch,
            )
            for reader in dict.fromkeys(stage.consumers)
            for index, edge in enumerate(reader.edges)
            if edge.stage is stage
        ]
        self._open = [(output.inbox, output.edge) for output in self._outputs] or [(hub.inboxes[None], 0)]
        self._taken = (0, 0)
        self._retired = stage.retired_sequences
        self._times = ThreadTimes(self.statistics)
        self._item_sizes: ItemSizes | None = None

    def _sleep(self, condition: threading.Condition, timeout_s: float | None = None) -> float:
        """Wait for a change, with the lock held; return for how long."""
        if self._hub.cancelled:
            raise Cancelled
        begin = self._times.waits_since_s = time.perf_counter()
        condition.wait(timeout_s)
        waited = time.perf_counter() - begin
        self._times.mark_s += waited
        self._times.waits_since_s = None
        return waited

    @property
    def _is_in_use(self) -> bool:
        """Whether it is to take items; its stage may need fewer threads than there are."""
        return self.index < self._inbox.in_use

    def join_in(self) -> None:
        """Have the readers wait for this thread as well: it was not there when the run began."""
        with self._hub.lock:
            for inbox, edge in self._open:
                inbox.senders[edge] += 1

    @property
    def came_out(self) -> int:
        """Batches of this source that have come out at the end of every path."""
        assert self._stage.own_sequence is not None
        return self._hub.tokens[self._stage.own_sequence].came_out

    def heaviest_item_bytes(self) -> float:
        """Return the bytes per item where they are most, lately."""
        counts = [(part.items, part.bytes) for parts in self._hub.statistics.values() for part in parts]
        if self._item_sizes is None or self._item_sizes.senders != len(counts):
            self._item_sizes = ItemSizes(len(counts))
        return self._item_sizes.heaviest(counts)

    def statistics_at(self, now_s: float) -> StageStatistics:
        """Return the counts of this moment."""
        ended_s = self._times.ended_s
        return replace(self.statistics, ended_s=0.0 if ended_s is None else now_s - ended_s)

    def going_on(self) -> tuple[float, float]:
        """Return the seconds of a call and of a wait that go on."""
        return self._times.going_on()

    def take(self, timeout_s: float | None = None) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip; [] when the time is over, None at the end."""
        inbox = self._inbox
        with self._hub.lock:
            while (batches := inbox.take_next() if self._is_in_use else None) is None and any(inbox.senders):
                waited = self._sleep(inbox.changed, timeout_s)
                self.statistics.starved_s += waited if self._is_in_use else 0.0
                if timeout_s is not None and waited >= timeout_s:
                    return []
        if batches is not None:
            self._taken = batches[0].sequence, batches[0].number
        if self._hub.is_disturbed:
            self.poll()
            self._look_for_failed_items(batches or [])
        return batches

    def _look_for_failed_items(self, batches: list[Batch]) -> None:
        """Raise `UnloadableError` if some items have failed in a stage before."""
        lost: Unloaded = []
        whole = []
        for batch in batches:
            failed = {index for index, item in enumerate(batch.items) if isinstance(item, FailedItem)}
            lost += [
                (batch.places[index], self._stage.name, batch.item_number(index), batch.items[index].failure)
                for index in failed
            ]
            whole.append(batch.only([index for index in range(len(batch.items)) if index not in failed]))
        if lost:
            raise UnloadableError(whole, lost)

    def publish(self, batch: Batch) -> None:
        """Hand a batch to every reader."""
        parts = {output.branch: _part(batch, output.branch) for output in self._outputs}
        if batch.branches is not None:
            batch.items.clear()  # so that each item has its readers alone
        handed: dict[int | None, list[Any]] = {}
        made: list[tuple[_Output, Batch]] = []
        for output in self._outputs:
            part = parts[output.branch]
            items = list(handed[output.branch]) if output.branch in handed else part.items
            handed[output.branch], self.last_bytes = isolate(items, output.access, self.passed, batch.number)
            sequence = output.renamed.get(batch.sequence, batch.sequence)
            sent = Batch(sequence, batch.number, batch.count, batch.cell, handed[output.branch], part.positions)
            made.append((output, sent))
        self.statistics.bytes += self.last_bytes
        with self._hub.lock:
            self._hub.largest_bytes = max(self._hub.largest_bytes, self.last_bytes)
            self.poll()
            for output, sent in made:
                output.inbox.add(output.edge, sent)
        if self._stage.own_sequence is not None:
            self._times.count_busy()

    def commit(self) -> None:
        """Finish the batch that was taken."""
        sequence, number = self._taken
        if sequence in self._retired:
            with self._hub.lock:
                self._hub.tokens[self._hub.roots[sequence]].retire(number)
        self._times.count_busy()

    def token(self, number: int) -> int:
        """Wait until one more batch may be in flight."""
        assert self._stage.own_sequence is not None
        tokens = self._hub.tokens[self._stage.own_sequence]
        with self._hub.lock:
            while not tokens.take(self._hub.largest_bytes):
                self.statistics.blocked_s += self._sleep(tokens.changed)
        return 0

    def keep_tokens(self) -> None:
        """Give back no more tokens: the sources of what is taken from now on stop when they have no more."""
        self._retired = set()

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items of the batch at hand."""
        self.statistics.items += items
        self.statistics.dropped += dropped
        self.statistics.failed += failed

    def report(self, event: WorkerEvent) -> None:
        """Note an item that was skipped, a cut, or that the timer has failed."""
        if isinstance(event, ItemSkipped):
            with self._hub.lock:
                failure = self._hub.failures.note(event.fault, event.sequence, event.is_listed, self._hub.items_of)
            if failure is not None:
                self._hub.cancel(failure)
        elif isinstance(event, CutPassed):
            assert self._hub.on_cut is not None
            self._hub.on_cut(event)
        elif isinstance(event, Failed):
            self._hub.cancel(event.fault.exception())

    def choose(self, branches: int) -> int:
        """Return the branch that has least to do."""
        with self._hub.lock:
            loads = {output.branch: output.inbox.waiting for output in self._outputs}
            return min(loads, key=lambda branch: loads[branch]) or 0 if loads else 0

    def load_state(self) -> None:
        """Return None: a thread has no predecessor."""

    def save_state(self, saved: Saved) -> None:
        """Do nothing: a thread has no successor."""

    def loaded(self) -> None:
        """Do nothing: a thread has no start to wait for."""

    def failed_item(self, failure: StageFailure) -> FailedItem:
        """Return what stands in a batch for an item that has failed."""
        self._hub.is_disturbed = True  # before a reader gets it
        return FailedItem(failure)

    def poll(self) -> None:
        """Raise `Cancelled` if the run is over."""
        if self._hub.cancelled:
            raise Cancelled

    def close_outputs(self) -> None:
        """Tell the readers that no more will come."""
        with self._hub.lock:
            open_, self._open = self._open, []
            for inbox, edge in open_:
                inbox.senders[edge] -= 1
                inbox.changed.notify_all()

    def attempt(self, sequence: int, number: int) -> None:
        """Begin an item, unless the run is over. A thread is never lost, so its item need not be noted."""
        self.poll()

    def expect_generator(self, generator: object) -> None:
        """Do nothing: `isolate` finds out whether the user's generator still has its last item."""

    def resume_point(self) -> int:
        """Return 0: a thread has no predecessor."""
        return 0

    def work(self, program: StageProgram) -> None:
        """Be a worker."""
        limit_thread(self._hub.cores)
        try:
            program.run(self)
        except Cancelled:
            pass
        except StageFailure as failure:
            self._hub.cancel(original_error(failure.original, failure.fault))
        except BaseException as error:
            told = exit_as_error(error)
            add_note(told, f"in stage {self._stage.name!r}")
            self._hub.cancel(told)
        finally:
            self.close_outputs()
            self._times.count_busy()
            self._times.ended_s = self._times.mark_s


def _access(plan: Plan, stage: Stage, reader: Stage, edge: Edge) -> Access:
    """Return the access of a reader; the caller's is READ if another stage reads the same items."""
    readers = [other for consumer in set(stage.consumers) for other in consumer.edges if other.stage is stage]
    is_shared = [other.branch for other in readers].count(edge.branch) > 1
    access = plan.access(reader)
    return Access.READ if access is Access.RESULT and is_shared else access


def _part(batch: Batch, branch: int | None) -> Batch:
    return batch if branch is None or batch.branches is None else batch.select(branch)
