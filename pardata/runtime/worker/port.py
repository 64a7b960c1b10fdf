"""The port through which a stage's program takes, publishes and commits.

      sender's slots -> receivers -> Collector -> take -> the user's function -> publish -> Outbox -> next stage's slots
                            ^------------------------------------------------------ commit

A program (`pipeline.programs.build`, `pool.worker.loop`) is a loop over a port; it does not know whether it runs in a
process of its own or in a thread of the parent.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from pardata.channel.channel import RunGone
from pardata.channel.order import Order
from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim
from pardata.channel.tokens import Tokens
from pardata.codec.batch_codec import Batch
from pardata.codec.loadable import Unloadable
from pardata.errors import InternalError, PardataError, WorkerLostError
from pardata.memory.arena import Arena
from pardata.memory.budget import LARGEST, LIVE, WIDEST, Budget
from pardata.memory.segment import Segment
from pardata.runtime.admission.inflight import InFlight
from pardata.runtime.admission.policy import TICK_S, Decision
from pardata.runtime.admission.quiescence import Quiescence
from pardata.runtime.admission.situation import Situation
from pardata.runtime.events import send_event
from pardata.runtime.header import (
    BATCHES,
    BEGUN_NS,
    BLOCKED_NS,
    BUSY_NS,
    CURRENT_BATCH,
    CURRENT_CALL,
    DROPPED,
    ENDED,
    FAILED,
    INCARNATION,
    ITEMS,
    MEMORY,
    NEXT_NUMBER,
    SENT_BYTES,
    STARVED_NS,
    THREAD,
    TURN,
    WAITS_FOR,
    batch_of_word,
    batch_word,
)
from pardata.runtime.poison_items import POISON_BYTES, poison_items
from pardata.runtime.worker.endpoints import Endpoints
from pardata.runtime.worker.program import CONDEMNED_AT, TIMER_NAME, Cancelled, UnloadableError, WorkerSpec
from pardata.runtime.worker.recovery import recover
from pardata.runtime.worker.state import Saved, StateArea

_OWED_SHARE: Final = 64  # commits are told at once if they hold more than this part of the byte budget

T = TypeVar("T")


class Program(Protocol):
    """What a worker does."""

    inplace: bool

    def order(self, following: dict[int, int]) -> Order[Claim]: ...
    def run(self, port: Port) -> None: ...


class Port:
    """take -> publish -> commit, and what is counted on the way."""

    passed = None  # what cannot be pickled is handed on by nobody

    def __init__(
        self,
        spec: WorkerSpec,
        segment: Segment,
        socks: list[socket.socket],
        program: Program,
        shared_arena: Arena | None = None,
    ) -> None:
        self.spec = spec
        self.words = spec.span.words(segment)
        self._is_successor = self.words[INCARNATION] > 0
        self.words[INCARNATION] += 1
        self.words[THREAD] = threading.get_native_id()
        self._inplace = program.inplace
        self._blames_senders = getattr(program, "blames_senders", False)  # of what it takes and cannot load
        ends = Endpoints(spec, segment, socks)
        self.control, self.receivers, self.tokens = ends.control, ends.receivers, ends.tokens
        self._retirers, self._senders = ends.retirers, ends.senders
        self._inherited = batch_of_word(self.words[CURRENT_BATCH])
        self.budget = Budget(
            spec.limit_bytes,
            [span.words(segment) for span, _ in spec.budget_spans],
            [name for _, name in spec.budget_spans],
        )
        if shared_arena is not None:
            self.arena = shared_arena
        else:
            self.arena = recover(
                segment,
                spec.span,
                spec.control_bytes,
                self.budget,
                spec.label,
                ends.leases,
                ends.senders,
                ends.receivers,
                self._is_successor,
            )
        self._in_parent = in_parent = shared_arena is not None
        self.outbox = Outbox(self.arena, ends.leases, ends.edges, in_parent, spec.has_inplace, spec.branches)
        self._state = None if spec.state is None else StateArea(segment, *spec.state, spec.label, self.words)
        following = {sequence: self.words[NEXT_NUMBER + sequence] for sequence in spec.sequences}
        self.collector = ends.collector(program.order(following), self._on_control)
        self.lock = threading.RLock()  # the timer of a source, and threads of user code that ask for memory
        self.last_bytes = 0
        self._cancelled = False
        self._claims: list[Claim] = []
        self._condemned: dict[tuple[int, int], PardataError] = {}
        if self._is_successor:  # before, nobody can have noted anything
            self._condemned = poison_items(spec.span.words(segment, CONDEMNED_AT, POISON_BYTES // 8), spec.label)
        self._mark_ns = time.perf_counter_ns()
        self._takes = 0
        self._owed = self._owed_bytes = 0  # commits, and bytes in their messages, that the senders have not been told
        self._most_owed_bytes = spec.limit_bytes // _OWED_SHARE
        self._publishing: Batch | None = None
        self._pressure: Situation | None = None
        if spec.inflight is not None:
            inflight, quiescence = InFlight(spec.inflight, segment), Quiescence(spec.inflight, segment)
            self._pressure = Situation(inflight, quiescence, self.budget, self.outbox, self.receivers, spec.label)
            if not in_parent:
                self.arena.on_shortage = self._wait_for_memory
        if self._is_successor:
            ends.announce()
        if not self.collector.resume(self._inherited, self.words[TURN]):
            self._inherited = None
            self._forget_recovered()

    @property
    def is_cancelled(self) -> bool:
        """Whether the run is to end before its time."""
        return self._cancelled

    # -- the three steps -------------------------------------------------------------------------------------------

    def _on_control(self) -> None:
        data = self.control.recv(64)
        if not data:
            raise RunGone("the run is gone")
        self._cancelled = True

    def _wait(self, waits_for: int, ready: Callable[[], T | None], tick_s: float | None = None) -> T:
        """Sleep until ``ready()`` is true; return what it returned. It is asked after each event, and each `tick_s`."""
        begin = time.perf_counter_ns()
        counter = BLOCKED_NS if waits_for == MEMORY else waits_for
        is_timer = threading.current_thread().name == TIMER_NAME  # meanwhile the user's code may be running
        attempt = self.words[CURRENT_CALL]
        if not is_timer:
            self.words[CURRENT_CALL] = 0
            self.words[WAITS_FOR], self.words[BEGUN_NS] = waits_for, time.monotonic_ns()
        try:
            while not (result := ready()):
                if self._cancelled:
                    raise Cancelled
                self.arena.collect()  # others read in this span how much is live
                self.collector.wait(tick_s, for_input=counter == STARVED_NS)
        finally:
            waited = time.perf_counter_ns() - begin
            self.words[counter] += waited
            self._mark_ns += waited
            if not is_timer:  # also where it raised: the user's code may go on without the memory
                self.words[BEGUN_NS] = time.monotonic_ns()
                self.words[CURRENT_CALL], self.words[WAITS_FOR] = self.words[CURRENT_CALL] or attempt, counter
        return result

    def _account(self) -> None:
        """Count the time since the last call as busy, but for what was spent waiting."""
        now = time.perf_counter_ns()
        self.words[BUSY_NS] += now - self._mark_ns
        self._mark_ns = now

    def try_take(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip, if it is here."""
        with self.lock:
            while (claims := self.collector.next()) is not None:
                if not self._is_finished(claims):
                    self._claims = claims
                    self.words[BEGUN_NS] = time.monotonic_ns()
                    # SYNC POINT: choice. From here on it is this batch that a successor begins with, whatever else
                    # has come by then: nothing of it can have been published, nor saved, before this store.
                    self.words[CURRENT_BATCH] = self.words[CURRENT_CALL] = batch_word(
                        claims[0].sequence, claims[0].number
                    )
                    batches = self._read(claims)
                    self._forget_recovered()
                    return batches
            return None

    def _read(self, claims: list[Claim]) -> list[Batch]:
        """Return the batches of claims. Raises UnloadableError if one has items that cannot be loaded."""
        batches = []
        lost: list[tuple[int, str, int, BaseException]] = []
        for claim in claims:
            try:
                batches.append(claim.receiver.read(claim, self._inplace))
            except Exception as error:
                if not self._blames_senders or isinstance(error, MemoryError):
                    raise
                batch = claim.receiver.read_loadable(claim, self._inplace, error)
                batches.append(_without_unloadable(batch, self.spec.senders[claim.receiver.index], lost))
        if lost:
            raise UnloadableError(batches, lost)
        return batches

    def take(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip; None at the end of all inputs. Waits."""
        with self.lock:
            self._takes += 1
            if not self._takes & 15:
                self.collector.poll()
            if self._cancelled:
                raise Cancelled
            batches = self.try_take()
            if batches is None:
                found = self._wait(STARVED_NS, lambda: self.try_take() or self.collector.at_end)
                batches = None if found is True else found  # type: ignore[assignment]
            return batches

    def _is_finished(self, claims: list[Claim]) -> bool:
        """Find out how far a dead predecessor got with this batch; commit it if only that was missing."""
        if self._inherited is None:
            return False
        first, inherited = claims[0], self._inherited
        self._inherited = None
        if inherited != (first.sequence, first.number):
            raise InternalError(f"{first!r} was taken before {inherited}, which a predecessor had begun")
        if self.outbox.has_published(first.sequence, first.number):
            for claim in claims:
                claim.receiver.open(claim)  # its leases end with the commit, but for those that were handed on
            self._claims = claims
            self.commit()
            self._forget_recovered()
            return True
        if self._inplace:
            raise WorkerLostError(
                f"a worker of stage {self.spec.stage!r} was lost while it changed item {first.number} in place, so the "
                f"item cannot be run again. Without inplace=True it could"
            )
        return False

    def _forget_recovered(self) -> None:
        if self._is_successor:
            for receiver in self.receivers:
                receiver.recovered.clear()

    def claimed(self) -> Batch:
        """Return a batch without items that has the numbers of what is being worked on: also if it cannot be read."""
        first = self._claims[0]
        return Batch(first.sequence, first.number, first.count, first.cell, [])

    def publish(self, batch: Batch) -> None:
        """Hand a batch to every edge; waits while all workers of a farm behind are busy."""
        if not self.outbox.edges:
            return
        with self.lock:
            if not self.outbox.has_room_for(batch):
                self._wait(BLOCKED_NS, lambda: self.outbox.has_room_for(batch))
            self._publishing, self.outbox.made_bytes = batch, 0
            parcels = self.outbox.pack(batch)
            self._count_bytes()  # first: who has got the batch finds it counted
            self.outbox.send(parcels)
            self._publishing = None
            if self.tokens is not None:
                self._account()

    def _count_bytes(self) -> None:
        """Count what is about to be sent."""
        words, outbox = self.words, self.outbox
        self.last_bytes = outbox.sent_bytes
        words[SENT_BYTES] += self.last_bytes
        words[LARGEST] = max(words[LARGEST], self.last_bytes)
        words[WIDEST] = max(words[WIDEST], outbox.block_bytes)
        outbox.sent_bytes = outbox.block_bytes = 0

    def choose(self, branches: int) -> int:
        """Return a branch that is free; waits for one."""
        with self.lock:
            if not self.outbox.edges:
                return 0
            self._wait(BLOCKED_NS, lambda: self.outbox.free_branch() is not None)
            return self.outbox.free_branch() or 0

    def commit(self) -> None:
        """Finish what was taken: it will not come again."""
        with self.lock:
            claims = self._claims
            first = claims[0]
            retirer = self._retirers.get(first.sequence)
            if retirer is not None:
                retirer.retire(first.cell, first.number)
            # SYNC POINT: choice. The turn is noted before anything says that the batch is finished: a successor that
            # still finds the batch goes by it (`Collector.resume`), and one that does not finds whose turn it is.
            self.words[TURN] = self.collector.turn
            self.words[NEXT_NUMBER + first.sequence] = first.number + first.count
            has_blocks = False
            for claim in claims:
                for block in claim.anchors:
                    self._owed_bytes += block.extent_bytes
                    has_blocks = True
                claim.receiver.commit(claim)
            self._claims = []
            self.words[CURRENT_BATCH] = self.words[CURRENT_CALL] = 0
            self.words[BATCHES] += 1
            self._account()
            self._owed += 1
            if self._owed >= self.spec.most_owed[has_blocks] or self._owed_bytes > self._most_owed_bytes:
                self.collector.flush()
                self._owed = self._owed_bytes = 0

    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None:
        """Count items of the batch at hand."""
        words = self.words
        words[ITEMS] += items
        if dropped:
            words[DROPPED] += dropped
        if failed:
            words[FAILED] += failed

    def attempt(self, sequence: int, number: int) -> None:
        """Say what the user's code is called for, so that it can be blamed; raises what the parent decided of it."""
        if self._condemned and (sequence, number) in self._condemned:
            raise self._condemned[sequence, number]
        self.words[BEGUN_NS] = time.monotonic_ns()
        self.words[CURRENT_CALL] = batch_word(sequence, number)

    # -- sources ---------------------------------------------------------------------------------------------------

    def token(self, number: int) -> int:
        """Return a token for batch `number` of a source; waits until there is one, and memory for one more batch."""
        tokens = self.tokens
        assert tokens is not None
        if not self.outbox.edges:
            return 0  # nothing leaves: nobody would give a token back
        with self.lock:
            if self._is_successor:
                held = tokens.holder(number)
                if held is not None:
                    return held
            if not self._may_begin(tokens):
                self._wait(BLOCKED_NS, lambda: self._may_begin(tokens))
            return tokens.take(number)

    def _may_begin(self, tokens: Tokens) -> bool:
        """Whether there is a token, and memory for one more batch; one alone may always be on its way."""
        if not tokens.has_free:
            return False
        in_flight = tokens.in_flight
        largest = max(self.words[LARGEST], self.budget.largest_bytes())
        if not tokens.allows(largest) or not (in_flight < tokens.spec.window.fewest or self.budget.may_widen()):
            return False
        return not in_flight or self.budget.has_room_on_its_way(in_flight)

    # -- memory ----------------------------------------------------------------------------------------------------

    @property
    def came_out(self) -> int:
        """Batches of this source that have come out at the end of every path."""
        return 0 if self.tokens is None else self.tokens.came_out

    def heaviest_item_bytes(self) -> float:
        """Return the bytes per item where they are most on their way, lately."""
        return 0.0 if self._pressure is None else self._pressure.inflight.heaviest_item_bytes()

    def _wait_for_memory(self, needed_bytes: int) -> bool:
        """Return when there may be room for a block (False), or it may pass the limit (True)."""
        if not self.lock.acquire(blocking=False):  # another thread is in here; it hears of what is given back
            time.sleep(TICK_S)
            if self._cancelled:
                raise Cancelled
            return False
        assert self._pressure is not None
        self._pressure.begin()
        try:
            return self._wait(MEMORY, partial(self._judge, needed_bytes), TICK_S) is Decision.PASS_LIMIT
        finally:
            self.lock.release()

    def _judge(self, needed_bytes: int) -> Decision | None:
        assert self._pressure is not None
        self.collector.poll()
        self.arena.collect()
        return self._pressure.decide(needed_bytes, self._claims, self._publishing)

    def expect_generator(self, generator: object) -> None:
        """Say which suspended generator of the user's still has the array that it has just yielded."""
        self.outbox.generator = generator

    def resume_point(self) -> int:
        """Return the number behind the last batch that a dead predecessor of this source or filter has published."""
        published = (message for edge in self.outbox.edges for message in edge.last())
        return max((number + count for _, number, count, _ in published), default=0)

    def load_state(self) -> Saved | None:
        """Return what a predecessor has saved."""
        return None if self._state is None else self._state.load()

    def save_state(self, saved: Saved) -> None:
        """Save a state for a successor."""
        if self._state is not None:
            self._state.save(saved)

    @property
    def item_at_work(self) -> int:
        """The number of the item that the user's code is called for; -1: of none."""
        batch = batch_of_word(max(0, self.words[CURRENT_CALL]))
        return -1 if batch is None else batch[1]

    def loaded(self) -> None:
        """Say that the user's code stands: from here on a death is not one of the start."""
        self.words[CURRENT_CALL] = 0

    # -- the parent ------------------------------------------------------------------------------------------------

    def report(self, event: tuple[Any, ...]) -> None:
        """Tell the parent."""
        send_event(self.control, event)

    def poll(self) -> None:
        """Handle what has come meanwhile; raises Cancelled."""
        with self.lock:
            self.collector.poll()
            if self._cancelled:
                raise Cancelled

    def poll_for_memory(self) -> None:
        """Take in what the readers have given back, unless another thread is at it."""
        if self.lock.acquire(blocking=False):
            try:
                self.collector.poll()
            finally:
                self.lock.release()

    def close_outputs(self) -> None:
        """Close every output and tell the parent so."""
        self.outbox.close()
        self._rest()
        self.report(("closed",))

    def _rest(self) -> None:
        self._account()
        self.words[BEGUN_NS] = time.monotonic_ns()
        self.words[CURRENT_CALL], self.words[WAITS_FOR] = 0, ENDED

    def finish(self) -> None:
        """Tell the parent that the work is done; close what is not closed."""
        self.outbox.close()
        self._rest()
        with self.lock:
            while not self.collector.flush():
                self.collector.wait()
        self.report(("done",))
        if self._pressure is not None:
            self._see_arrays_off()

    def _see_arrays_off(self) -> None:
        """Stay while others have arrays of this worker, or the run lasts: who else would note that they are let go?"""
        with self.lock:
            while not self._cancelled:
                self.arena.collect()
                if not (len(self.outbox.leases) if self._in_parent else self.words[LIVE]):
                    return
                self.collector.wait(for_input=False)


def _without_unloadable(batch: Batch, sender: str, lost: list[tuple[int, str, int, BaseException]]) -> Batch:
    """Return a batch without the items that cannot be loaded, which are added to `lost`."""
    places = range(len(batch.items)) if batch.positions is None else batch.positions
    kept = []
    for index, (item, place) in enumerate(zip(batch.items, places, strict=True)):
        if isinstance(item, Unloadable):
            lost.append((place, sender, batch.item_number(index), item.error))
        else:
            kept.append((item, place))
    return batch.with_items([item for item, _ in kept], [place for _, place in kept])
