"""A stage's program takes, publishes and commits through a port.

      sender's slots -> receivers -> Collector -> take -> the user's function -> publish -> Outbox -> next stage's slots
                            ^------------------------------------------------------ commit

A program (`pipeline.programs.build`, `pool.worker.loop`) is a loop over a port; it does not know whether it runs in a
process of its own or in a thread of the parent.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Protocol

from pardata.channel.order import Order
from pardata.channel.outbox import Outbox
from pardata.channel.receiver import Claim
from pardata.codec.access import Access
from pardata.codec.batch_codec import CUT, Batch
from pardata.memory.arena import Arena
from pardata.memory.budget import LARGEST, WIDEST
from pardata.memory.segment import Segment
from pardata.runtime.events import Closed, Done, WorkerEvent, send_event
from pardata.runtime.header import (
    BATCHES,
    BEGUN_NS,
    BLOCKED_NS,
    CURRENT_BATCH,
    CURRENT_CALL,
    LEAVE,
    NEXT_NUMBER,
    SENT_BYTES,
    STARVED_NS,
    THREAD,
    TURN,
    batch_word,
)
from pardata.runtime.worker.accounting import TimeAccount
from pardata.runtime.worker.control import Control
from pardata.runtime.worker.endpoints import Endpoints
from pardata.runtime.worker.memory_wait import MemoryWait
from pardata.runtime.worker.notes import WorkNotes
from pardata.runtime.worker.program import FailedItem, StageFailure, leave
from pardata.runtime.worker.reader import ClaimReader
from pardata.runtime.worker.recovery import Recovery, recover
from pardata.runtime.worker.spec import WorkerSpec
from pardata.runtime.worker.state import Saved
from pardata.runtime.worker.token_gate import TokenGate
from pardata.runtime.worker.transaction import Transaction
from pardata.runtime.worker.unreported import UnreportedCommits


class Program(Protocol):
    """The loop that a worker runs."""

    inplace: bool

    def order(self, following: dict[int, int]) -> Order[Claim]: ...
    def run(self, port: WorkerPort) -> None: ...


class WorkerPort(WorkNotes):
    """A transaction: `take` a batch, `publish` what becomes of it, `commit` it.

    Until the commit a successor takes the same batch again; after it, no worker does. The other jobs have files of
    their own: `accounting` (time), `recovery` (a predecessor's work), `memory_wait`, `control`, `token_gate`.

    Attributes
    ----------
    lock : RLock
        Held in each step: the timer of a source publishes too, and threads of user code ask for memory.
    last_bytes : int
        Of the batch that was published last: arrays and message.
    """

    passed = None  # a worker process hands on nothing that cannot be pickled
    account_kind = TimeAccount

    def __init__(
        self,
        spec: WorkerSpec,
        segment: Segment,
        socks: list[socket.socket],
        program: Program,
        shared_arena: Arena | None = None,
    ) -> None:
        words = spec.span.words(segment)
        self._recovery = Recovery(spec, segment, words, program.inplace)
        super().__init__(spec, words, self._recovery.poison)
        words[THREAD] = threading.get_native_id()
        ends = Endpoints(spec, segment, socks)
        budget = spec.budget.open(segment)
        is_successor, in_parent = self._recovery.is_successor, shared_arena is not None
        arena = recover(spec, segment, budget, ends, is_successor) if shared_arena is None else shared_arena
        self.outbox = outbox = Outbox(arena, ends.leases, ends.edges, in_parent, spec.writers)
        self.control, self.lock, self.last_bytes = Control(ends.control), threading.RLock(), 0
        following = {sequence: words[NEXT_NUMBER + sequence] for sequence in spec.sequences}
        self.collector = ends.collector(program.order(following), self.control.receive)
        self._at_hand = Transaction()
        self._account = account = self.account_kind(words, self.control, self.collector, arena)
        access = getattr(program, "access", Access.INPLACE if program.inplace else Access.READ)
        self._reader = ClaimReader(access, getattr(program, "blames_senders", False), spec.inputs)
        tokens = ends.tokens
        self._gate = None if tokens is None else TokenGate(tokens, words, budget, account, is_successor, outbox.chooses)
        self._unreported = UnreportedCommits(spec.most_owed, spec.budget.limit_bytes, ends.retirers)
        self.memory = MemoryWait(spec, segment, budget, self._at_hand, self.lock, outbox, account, in_parent)
        self._recovery.resume(ends, self.collector, outbox, words[TURN])

    def enter_thread(self) -> None:
        """Say that the calling thread is the worker, and that its time counts from now on."""
        self.words[THREAD] = threading.get_native_id()
        self._account.restart()

    def take(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip; None at the end of all inputs. Waits."""
        with self.lock:
            control = self.control
            control.takes += 1
            if not control.takes & 15:
                self.collector.poll()
            if self.words[LEAVE]:  # the message that says so is read at times only
                leave(self.words)
            batches = self.try_take()
            if batches is None:
                found = self._account.wait(STARVED_NS, lambda: self.try_take() or self.collector.at_end)
                batches = None if found is True else found  # type: ignore[assignment]
            return batches

    def try_take(self) -> list[Batch] | None:
        """Return the next batch, or one of each edge of a zip, if it is here."""
        with self.lock:
            recovery, words = self._recovery, self.words
            while (claims := self.collector.next()) is not None:
                if recovery.inherited is not None and self._commits_inherited(claims):
                    continue
                self._at_hand.claims = claims
                words[BEGUN_NS] = time.monotonic_ns()  # SYNC POINT: begun. Before the call that it belongs to
                # SYNC POINT: choice. From here on it is this batch that a successor begins with, whatever else has come
                # by then: nothing of it can have been published, nor saved, before this store.
                words[CURRENT_BATCH] = words[CURRENT_CALL] = batch_word(claims[0].sequence, claims[0].number)
                batches = self._reader.read(claims)
                if recovery.holds_recovered:
                    recovery.forget_recovered()
                return batches
            return None

    def _commits_inherited(self, claims: list[Claim]) -> bool:
        """Commit the batch that a predecessor had begun, if it has published all of it; return whether so."""
        if not self._recovery.begin(claims):
            return False
        self._at_hand.claims = claims
        self.commit()
        self._recovery.forget_recovered()
        return True

    def claimed(self) -> Batch:
        """Return the batch at hand without its items: its numbers are known also if it cannot be read."""
        first = self._at_hand.claims[0]
        return Batch(first.sequence, first.number, first.count, first.cell, [])

    def publish(self, batch: Batch) -> None:
        """Hand a batch to every edge; waits while all workers of a farm behind are busy. Raises `Cancelled`."""
        words, outbox = self.words, self.outbox
        if not outbox.edges:
            return
        if words[LEAVE]:  # a filter may make many messages of one, and looks at its sockets at times only
            leave(words)
        with self.lock:
            if not outbox.has_room_for(batch):
                self._account.wait(BLOCKED_NS, lambda: outbox.has_room_for(batch))
            at_hand, placer = self._at_hand, outbox.placer
            at_hand.publishing, placer.made_bytes = batch, 0
            packets = outbox.pack(batch)
            self.last_bytes = sent_bytes = placer.sent_bytes
            words[SENT_BYTES] += sent_bytes  # counted first: whoever receives the batch finds it counted
            words[LARGEST] = max(words[LARGEST], sent_bytes)
            words[WIDEST] = max(words[WIDEST], outbox.block_bytes)
            placer.sent_bytes = outbox.block_bytes = 0
            outbox.send(packets)
            at_hand.publishing = None
            if self._gate is not None:
                self._account.count_busy()

    def commit(self) -> None:
        """Finish the batch at hand: it will not come again."""
        with self.lock:
            words, at_hand, unreported = self.words, self._at_hand, self._unreported
            claims = at_hand.claims
            first = claims[0]
            retirer = unreported.retirers.get(first.sequence)
            if retirer is not None:
                retirer.retire(first.cell % CUT, first.number)
            # SYNC POINT: choice. The turn is noted before anything says that the batch is finished: a successor that
            # still finds the batch goes by it (`Collector.resume`); one that does not finds the turn.
            words[TURN] = self.collector.turn
            words[NEXT_NUMBER + first.sequence] = first.number + first.count
            is_due = unreported.add(claims)  # while they know their blocks
            for claim in claims:
                claim.receiver.commit(claim)
            at_hand.claims = []
            words[CURRENT_BATCH] = words[CURRENT_CALL] = 0  # behind done: killed before it, no input has that batch
            words[BATCHES] += 1
            self._account.count_busy()
            if is_due:
                self.collector.flush()

    @property
    def is_thread(self) -> bool:
        """Whether the worker is a thread of the process that runs the plan."""
        return self.outbox.placer.in_parent

    # -- beside the three steps -----------------------------------------------------------------------------------

    def choose(self, branches: int) -> int:
        """Return a branch that is free; waits for one."""
        with self.lock:
            if not self.outbox.edges:
                return 0
            self._account.wait(BLOCKED_NS, lambda: self.outbox.free_branch() is not None)
            return self.outbox.free_branch() or 0

    def token(self, number: int) -> int:
        """Return a token for batch `number` of a source; waits until there is one, and memory for one more batch."""
        gate = self._gate
        if gate is None or not self.outbox.edges:
            return 0  # nothing leaves, so no token would come back
        with self.lock:
            return gate.take(number)

    def keep_tokens(self) -> None:
        """Give back no more tokens: the sources of what is taken from now on stop when they have no more."""
        self._unreported.retirers = {}

    @property
    def came_out(self) -> int:
        """Batches of this source that have come out at the end of every path."""
        return 0 if self._gate is None else self._gate.tokens.came_out

    @property
    def message_bytes(self) -> int:
        """The bytes that large arrays in one message may have together."""
        return 0 if self._gate is None else self._gate.message_bytes

    def heaviest_item_bytes(self) -> float:
        """Return the bytes per item where they are most on their way, lately."""
        situation = self.memory.situation
        return 0.0 if situation is None else situation.inflight.heaviest_item_bytes()

    def expect_generator(self, generator: object) -> None:
        """Say which suspended generator of the user's still has the array that it has just yielded."""
        self.outbox.placer.generator = generator

    def resume_point(self) -> int:
        """Return the number behind the last batch that a dead predecessor of this source or filter has published."""
        return self._recovery.resume_point(self.outbox)

    def load_state(self) -> Saved | None:
        """Return the state that a predecessor has saved."""
        state = self._recovery.state
        return None if state is None else state.load()

    def save_state(self, saved: Saved) -> None:
        """Save a state for a successor."""
        if self._recovery.state is not None:
            self._recovery.state.save(saved)

    def report(self, event: WorkerEvent) -> None:
        """Tell the parent."""
        send_event(self.control.sock, event)

    def failed_item(self, failure: StageFailure) -> FailedItem:
        """Return what stands in a batch for an item that has failed."""
        return FailedItem(failure)

    def poll(self) -> None:
        """Handle all that has come meanwhile; raises `Cancelled`."""
        with self.lock:
            self.collector.poll()
            if self.control.is_cancelled:
                leave(self.words)

    def close_outputs(self) -> None:
        """Close every output and tell the parent so."""
        self.outbox.close()
        self._account.end()
        self.report(Closed())

    def finish(self) -> None:
        """Tell the parent that the work is done; close what is not closed. Returns when it is not needed."""
        self.outbox.close()
        self._account.end()
        with self.lock:
            while not self.collector.flush():
                if self.control.is_cancelled:  # what is owed may be for a worker that has ended: nobody reads it
                    leave(self.words)
                self.collector.wait()
        self.report(Done())
        self.memory.wait_for_release()
