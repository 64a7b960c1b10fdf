"""The port of a worker that awaits the calls for its items: several batches are at work, one is handed on at a time.

      try_begin, try_begin, ...    the calls of all these batches go on in one event loop
      turn_to -> publish -> commit one of them, when its calls have returned

A process that dies while calls are awaited has no item to blame. After a few such deaths the parent asks for one call
at a time, until all that may have been at work is done: CURRENT_CALL stays at the item then.

CURRENT_BATCH names the one that was turned to. All that were begun and are not committed lie in their slots, and a
successor begins them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from pardata.codec.batch_codec import Batch
from pardata.runtime.admission.policy import TICK_S
from pardata.runtime.header import (
    ALONE,
    ALONE_UNTIL,
    AWAITS,
    BATCHES,
    BEGUN_NS,
    BLOCKED_NS,
    CURRENT_BATCH,
    CURRENT_CALL,
    MEMORY,
    STARVED_NS,
    WAITS_FOR,
    batch_word,
)
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.program import MemoryShort


class AwaitingPort(WorkerPort):
    """A port that does not make its worker wait: the worker rests in its event loop until there is news."""

    @contextlib.contextmanager
    def watched(self, news: Callable[[], None]) -> Iterator[None]:
        """Have the running event loop call `news` whenever `poll` would find something; first of all steps."""
        self._set_up()
        loop, fd = asyncio.get_running_loop(), self.collector.selector.fileno()
        loop.add_reader(fd, news)
        try:
            yield
        finally:
            loop.remove_reader(fd)

    def _set_up(self) -> None:
        words, arena = self.words, self.outbox.arena
        if words[ALONE_UNTIL] == ALONE:  # what was begun is among those that are unfinished
            unfinished = sum(len(receiver.waiting()) for receiver in self.collector.receivers)
            words[ALONE_UNTIL] = words[BATCHES] + unfinished
        if arena.on_shortage is not None and not self.is_thread:
            arena.on_shortage = self._on_shortage
            self.outbox.placer.given = []

    def try_begin(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip, if it is here; others may be at work."""
        with self.lock:
            recovery = self._recovery
            while (claims := self.collector.next()) is not None:
                if recovery.inherited is not None and self._commits_inherited(claims):
                    continue
                self._at_hand.begun[claims[0].sequence, claims[0].number] = claims
                batches = self._reader.read(claims)
                if recovery.holds_recovered:
                    recovery.forget_recovered()
                return batches
            return None

    @property
    def at_end(self) -> bool:
        """Whether every sender has closed and everything is committed."""
        return self.collector.at_end

    def has_room_for(self, batch: Batch) -> bool:
        """Return whether a worker behind is free and, as far as is known, there is memory: `publish` may be tried."""
        if not self.outbox.has_room_for(batch):
            return False
        short = self._at_hand.short
        needed_bytes = short.get((batch.sequence, batch.number)) if short else None
        return needed_bytes is None or self.memory.may_try(needed_bytes, batch)

    def turn_to(self, batch: Batch) -> None:
        """Say which of the batches that were begun is published and committed next."""
        at_hand = self._at_hand
        at_hand.claims = at_hand.begun.pop((batch.sequence, batch.number))
        # SYNC POINT: choice. As in `WorkerPort.try_take`: nothing of this batch has been published before.
        self.words[CURRENT_BATCH] = batch_word(batch.sequence, batch.number)

    def publish(self, batch: Batch) -> None:
        """Hand over the batch that was turned to. Raises `MemoryShort` in place of waiting: it is begun again then.

        Its blocks may be asked for again and again, so nothing of it is to be left: no bytes that count, and no
        block that its reader may change.
        """
        placer, at_hand, key = self.outbox.placer, self._at_hand, (batch.sequence, batch.number)
        at_hand.publisher = threading.get_ident()
        try:
            super().publish(batch)
        except MemoryShort as short:
            placer.sent_bytes = self.outbox.block_bytes = placer.made_bytes = 0
            for block in placer.given or ():
                block.given_away = False
            if not at_hand.short and self.memory.situation is not None:
                self.memory.situation.begin()
            at_hand.short[key] = max(short.needed_bytes, at_hand.short.get(key, 0))
            at_hand.begun[key], at_hand.claims, at_hand.publishing = at_hand.claims, [], None
            raise
        finally:
            at_hand.publisher = 0
            if placer.given:
                placer.given.clear()
        if at_hand.short:
            at_hand.short.pop(key, None)

    def _on_shortage(self, needed_bytes: int) -> bool:
        """Answer as `MemoryWait.wait`; it waits only for arrays that the user's code makes in shared memory itself."""
        if self._at_hand.publisher == threading.get_ident():
            return self.memory.ask(needed_bytes)
        return self.memory.wait(needed_bytes)

    def makes_one_call(self) -> bool:
        """Return whether one call is to be made at a time, without `pause`: one has killed predecessors."""
        return self.words[BATCHES] < self.words[ALONE_UNTIL]

    def step(self, item: tuple[int, int]) -> None:
        """Note the item whose call runs at this moment."""
        self.words[CURRENT_CALL] = batch_word(*item)

    def pause(self) -> None:
        """Note that no code of the user's runs at this moment, and calls are awaited: a death may be due to each."""
        self.words[CURRENT_CALL] = AWAITS

    def rest(self, calls: int, wants_input: bool, is_blocked: bool) -> float:
        """Get ready to sleep until there is news. Return for how many seconds at the most, 0: there is news already.

        `calls`: how many are awaited; `is_blocked`: a batch waits for room.
        """
        with self.lock:
            words, account, is_short = self.words, self._account, bool(self._at_hand.short)
            self.outbox.arena.collect()  # other processes read in this span how much is live
            account.rests_for = rests_for = BLOCKED_NS if is_blocked else None if calls else STARVED_NS
            account.rests_since_ns = time.perf_counter_ns()
            if not calls or words[BATCHES] >= words[ALONE_UNTIL]:  # as `makes_one_call`, without a call per rest
                words[CURRENT_CALL] = AWAITS if calls else 0
            waits_for = MEMORY if is_short else rests_for or STARVED_NS
            # A wait for memory that goes on keeps the time at which it began.
            if waits_for != MEMORY or words[WAITS_FOR] != MEMORY:
                words[WAITS_FOR], words[BEGUN_NS] = waits_for, time.monotonic_ns()
            longest_s = self.collector.prepare_sleep(wants_input)
            return min(longest_s, TICK_S) if is_short else longest_s

    def wake(self, has_news: bool) -> None:
        """End the rest; without news give free memory back."""
        self.collector.end_sleep()
        account = self._account
        if account.rests_for is not None:
            account.end_rest()
        if not has_news and not self._at_hand.short:
            self.collector.idle()
