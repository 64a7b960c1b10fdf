"""What the threads of a run share, and the port through which a stage's program takes, publishes and commits.

      source --publish--> inbox --take--> worker --publish--> inbox --take--> the caller
        '------- token <-------------------------------------------- commit --'

An inbox is one queue for all workers of its stage, in the order in which the stage takes: the next batch goes to
whoever is free. All of it changes under one lock, held for a few lines; every wait is on a condition of that lock.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from pardata.channel.message import Batch
from pardata.engines.local import original_error
from pardata.pipeline.handover import hand_over
from pardata.pipeline.ordering import Arrival, InOrder
from pardata.pipeline.plan import Plan, Stage
from pardata.pipeline.programs import program_of
from pardata.pipeline.stages import ItemProgram, PipeProgram, SourceProgram
from pardata.runtime.program import Cancelled, StageFailure
from pardata.runtime.progress import Skipped, StageStatistics


class Inbox:
    """What waits for the workers of a stage; `senders` are the workers that may still add to it."""

    def __init__(self, lock: threading.RLock, order: Arrival[Batch] | InOrder[Batch], senders: int) -> None:
        self.changed = threading.Condition(lock)
        self.order = order
        self.senders = senders


class Tokens:
    """The right to have one more batch of a source in flight: returns when all `terminals` have committed the batch."""

    def __init__(self, lock: threading.RLock, free: int, terminals: int) -> None:
        self.changed = threading.Condition(lock)
        self.free = free
        self.terminals = terminals
        self._missing: dict[int, int] = {}

    def retire(self, number: int) -> None:
        """Note that one terminal has committed batch `number`."""
        missing = self._missing.pop(number, self.terminals) - 1
        if missing:
            self._missing[number] = missing
        else:
            self.free += 1
            self.changed.notify()


class Hub:
    """What the threads of a run share. They know the hub and not the run, which ends when the user lets go of it."""

    def __init__(self, plan: Plan, tokens: int) -> None:
        self.lock = threading.RLock()  # the garbage collector may end a run wherever a thread is
        self.cancelled = False
        self.failure: BaseException | None = None
        self.skipped: list[Skipped] = []
        self.roots = plan.roots
        self.programs = {stage: program_of(stage, plan) for stage in plan.stages}
        self.inboxes: dict[Stage | None, Inbox] = {
            stage: Inbox(self.lock, self.programs[stage].order({}), sum(edge.stage.workers for edge in stage.edges))
            for stage in plan.stages
        }
        ends = sum(stage.workers for stage in plan.worker_stages if not stage.consumers)
        self.inboxes[None] = Inbox(self.lock, Arrival(), ends)  # nothing goes there; it tells the caller of the end
        retired = [plan.roots[domain] for stage in plan.stages for domain in stage.retired_domains]
        self.tokens = {root: Tokens(self.lock, tokens, retired.count(root)) for root in plan.roots}

    def cancel(self, failure: BaseException | None = None) -> None:
        """Have every thread leave, and drop what waits; of several failures the first is the caller's."""
        with self.lock:
            if not self.cancelled:
                self.cancelled, self.failure = True, failure
            for inbox in self.inboxes.values():
                inbox.order = Arrival()
                inbox.changed.notify_all()
            for tokens in self.tokens.values():
                tokens.changed.notify_all()

    def take_failure(self) -> BaseException:
        """Return what went wrong, to be raised; its traceback leads to the hub, so the hub is to hold it no longer."""
        assert self.failure is not None
        failure, self.failure = self.failure, None
        return failure


class ThreadPort:
    """What a program needs of its surroundings (`pipeline.stages.Port`), for one thread."""

    last_bytes = 0

    def __init__(self, hub: Hub, stage: Stage, inbox: Inbox) -> None:
        self.lock = threading.RLock()  # the timer of a source
        self.statistics = StageStatistics(stage.name, 1)
        self._hub = hub
        self._stage = stage
        self._inbox = inbox
        self._outputs = [
            (hub.inboxes[reader], index if reader.zipped else 0, edge.renamed, reader.node.inplace)
            for reader in dict.fromkeys(stage.consumers)
            for index, edge in enumerate(reader.edges)
            if edge.stage is stage
        ]
        self._open = [output[0] for output in self._outputs] or [hub.inboxes[None]]
        self._taken = (0, 0)
        self._mark_s = time.perf_counter()

    def _sleep(self, condition: threading.Condition, timeout_s: float | None = None) -> float:
        """Wait for a change, with the lock held; return for how long."""
        if self._hub.cancelled:
            raise Cancelled
        begin = time.perf_counter()
        condition.wait(timeout_s)
        waited = time.perf_counter() - begin
        self._mark_s += waited
        return waited

    def _account(self) -> None:
        """Count the time since the last call as busy, but for what was spent waiting."""
        now = time.perf_counter()
        self.statistics.busy_s += now - self._mark_s
        self._mark_s = now

    def take(self, timeout_s: float | None = None) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip; [] when the time is over, None at the end."""
        inbox = self._inbox
        with self._hub.lock:
            while (batches := inbox.order.pop()) is None and inbox.senders:
                waited = self._sleep(inbox.changed, timeout_s)
                self.statistics.starved_s += waited
                if timeout_s is not None and waited >= timeout_s:
                    return []
            self.poll()
        if batches is not None:
            self._taken = batches[0].domain, batches[0].number
        return batches

    def publish(self, batch: Batch) -> None:
        """Hand a batch to every reader."""
        items = batch.items
        handed: list[tuple[Inbox, int, Batch]] = []
        for inbox, position, renamed, inplace in self._outputs:
            items, self.last_bytes = hand_over(list(items) if handed else items, inplace)
            domain = renamed.get(batch.domain, batch.domain)
            handed.append((inbox, position, Batch(domain, batch.number, batch.count, 0, items, batch.positions)))
        self.statistics.bytes += self.last_bytes
        with self._hub.lock:
            self.poll()
            for inbox, position, made in handed:
                inbox.order.add(position, made)
                inbox.changed.notify()
        if self._stage.own_domain is not None:
            self._account()

    def commit(self) -> None:
        """Finish what was taken."""
        domain, number = self._taken
        if domain in self._stage.retired_domains:
            with self._hub.lock:
                self._hub.tokens[self._hub.roots[domain]].retire(number)
        self._account()

    def token(self, number: int) -> int:
        """Wait until one more batch may be in flight."""
        assert self._stage.own_domain is not None
        tokens = self._hub.tokens[self._stage.own_domain]
        with self._hub.lock:
            while not tokens.free:
                self.statistics.blocked_s += self._sleep(tokens.changed)
            tokens.free -= tokens.terminals > 0
        return 0

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items of the batch at hand."""
        self.statistics.items += items
        self.statistics.dropped += dropped
        self.statistics.failed += failed

    def report(self, event: tuple[Any, ...]) -> None:
        """Note an item that was skipped, or that the timer has failed."""
        if event[0] == "skipped":
            self._hub.skipped.append(Skipped.of(event[1]))
        else:
            self._hub.cancel(event[1].exception())

    def poll(self) -> None:
        """Raise `Cancelled` if the run is over."""
        if self._hub.cancelled:
            raise Cancelled

    def close_outputs(self) -> None:
        """Tell the readers that no more will come."""
        with self._hub.lock:
            open_, self._open = self._open, []
            for inbox in open_:
                inbox.senders -= 1
                inbox.changed.notify_all()

    def attempt(self, domain: int, number: int) -> None:
        """Begin an item, unless the run is over. A thread is not lost, so nobody asks what it was working on."""
        self.poll()

    def expect_generator(self, generator: object) -> None:
        """Do nothing: `hand_over` sees that the user's generator still has what it yielded."""

    def resume_point(self) -> None:
        """Return None: a thread has no predecessor."""

    def work(self, program: ItemProgram | PipeProgram | SourceProgram) -> None:
        """Be a worker."""
        try:
            program.run(self)
        except Cancelled:
            pass
        except StageFailure as failure:
            self._hub.cancel(original_error(failure))
        except BaseException as error:
            error.add_note(f"in stage {self._stage.name!r}")
            self._hub.cancel(error)
        finally:
            self.close_outputs()
