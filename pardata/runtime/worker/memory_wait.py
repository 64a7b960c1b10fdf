"""A worker that has no memory for a block waits until others release theirs. So does one that is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from pardata.channel.outbox import Outbox
from pardata.codec.batch_codec import Batch
from pardata.memory.budget import LIVE, Budget
from pardata.memory.segment import Segment
from pardata.runtime.admission.inflight import InFlight
from pardata.runtime.admission.policy import TICK_S, Decision
from pardata.runtime.admission.quiescence import Quiescence
from pardata.runtime.admission.situation import Situation
from pardata.runtime.header import BLOCKED_NS, MEMORY
from pardata.runtime.worker.accounting import TimeAccount
from pardata.runtime.worker.program import MemoryShort, leave
from pardata.runtime.worker.spec import WorkerSpec
from pardata.runtime.worker.transaction import Transaction


class MemoryWait:
    """Waits for the memory of others.

    Attributes
    ----------
    budget : Budget
        Of all workers together.
    situation : Situation, optional
        The view that a worker of a run has of the others. None: of a pool, whose workers fail at once.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        segment: Segment,
        budget: Budget,
        at_hand: Transaction,
        lock: threading.RLock,
        outbox: Outbox,
        account: TimeAccount,
        in_parent: bool,
    ) -> None:
        self.budget = budget
        self.situation: Situation | None = None
        self._at_hand = at_hand
        self._lock = lock
        self._words = words = spec.span.words(segment)
        self._outbox = outbox
        self._account = account
        # A thread of the parent has no arena of its own: it waits for the leases that it has given.
        self._live = outbox.leases.__len__ if in_parent else partial(words.__getitem__, LIVE)
        if spec.inflight is not None:
            inflight, quiescence = InFlight(spec.inflight, segment), Quiescence(spec.inflight, segment)
            receivers = account.collector.receivers
            self.situation = Situation(inflight, quiescence, budget, outbox, receivers, spec.label)
            if not in_parent:
                outbox.arena.on_shortage = self.wait

    def wait(self, needed_bytes: int) -> bool:
        """Return when there may be room for a block (False), or it may pass the limit (True)."""
        if not self._lock.acquire(blocking=False):
            # Another thread is in the port, perhaps until the run ends: it hears of what is given back, and the budget
            # is asked again after this pause.
            time.sleep(TICK_S)
            if self._account.control.is_cancelled:
                leave(self._words)
            return False
        assert self.situation is not None
        self.situation.begin()
        try:
            found = self._account.wait(MEMORY, partial(self._decide, needed_bytes), TICK_S)
            return found is Decision.PASS_LIMIT
        finally:
            self._lock.release()

    def ask(self, needed_bytes: int) -> bool:
        """Return as `wait` does for the batch that is being published, but raise `MemoryShort` in place of waiting."""
        assert self.situation is not None
        self._outbox.arena.collect()
        at_hand = self._at_hand
        decision = self.situation.decide(needed_bytes, at_hand.claims, at_hand.publishing, at_hand.others)
        if decision is None:
            raise MemoryShort(self._outbox.placer.made_bytes + needed_bytes)
        return decision is Decision.PASS_LIMIT

    def may_try(self, needed_bytes: int, batch: Batch) -> bool:
        """Return whether a batch that was begun, for which there was no memory, is to be published again."""
        assert self.situation is not None
        at_hand = self._at_hand
        claims = at_hand.begun[batch.sequence, batch.number]
        return self.situation.may_try(needed_bytes, claims, batch, at_hand.others)

    def _decide(self, needed_bytes: int) -> Decision | None:
        assert self.situation is not None
        self._account.collector.poll()
        self._outbox.arena.collect()
        at_hand = self._at_hand
        return self.situation.decide(needed_bytes, [*at_hand.claims, *at_hand.others], at_hand.publishing)

    def poll(self) -> None:
        """Take in what the readers have given back, unless another thread is in the port."""
        if self._lock.acquire(blocking=False):
            try:
                self._account.collector.poll()
            finally:
                self._lock.release()

    def pause(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Wait for a moment until ``ready()``; return whether it is.

        A worker of a pool does not wait, nor does a thread beside another one that is in the port.
        """
        if self.situation is None or not self._lock.acquire(blocking=False):
            return False
        end = time.monotonic() + seconds
        try:
            return self._account.wait(BLOCKED_NS, lambda: ready() or time.monotonic() >= end, seconds) and ready()
        finally:
            self._lock.release()

    def wait_for_release(self) -> None:
        """Stay until all blocks of this worker are released, or the run is over: only their owner takes them back.

        A worker of a pool returns at once: its parent takes the span back with all leases (`wiring.dissolve`).
        """
        if self.situation is None:
            return
        with self._lock:
            while not self._account.control.is_cancelled:
                self._outbox.arena.collect()
                if not self._live():
                    return
                # No input is waited for, only leases, whose messages always come by the socket.
                self._account.collector.wait(for_input=False)
