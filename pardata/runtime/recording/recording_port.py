"""Ports that record what their worker does: some steps of Python per message, and none per item."""

from __future__ import annotations

import socket

from pardata.codec.batch_codec import Batch
from pardata.memory.arena import Arena
from pardata.memory.segment import Segment
from pardata.runtime.recording.recorder import Recorder
from pardata.runtime.recording.recording_account import RecordingAccount
from pardata.runtime.worker.awaiting_port import AwaitingPort
from pardata.runtime.worker.port import Program, WorkerPort
from pardata.runtime.worker.spec import WorkerSpec


class RecordingPort(WorkerPort):
    """A port that records: a call from the moment when its message is taken to its commit.

    A source has no input: its call is what it takes to make a message, until it asks for a token.
    """

    _account: RecordingAccount
    account_kind = RecordingAccount

    def __init__(
        self,
        spec: WorkerSpec,
        segment: Segment,
        socks: list[socket.socket],
        program: Program,
        shared_arena: Arena | None = None,
    ) -> None:
        assert spec.areas.record is not None
        at, nbytes = spec.areas.record
        super().__init__(spec, segment, socks, program, shared_arena)
        memory = memoryview(segment.map)[at : at + nbytes]
        self._account.begin(Recorder(memory), self.outbox.arena.span.words(segment))

    def loaded(self) -> None:
        super().loaded()
        self._account.notes.begin()

    def try_take(self) -> list[Batch] | None:
        self._account.notes.begin()
        return super().try_take()

    def commit(self) -> None:
        first = self._at_hand.claims[0]
        sequence, number, count = first.sequence, first.number, first.count
        super().commit()
        self._account.look(self._account.notes.end(sequence, number, count))

    def token(self, number: int) -> int:
        self._account.notes.made()
        return super().token(number)

    def publish(self, batch: Batch) -> None:
        if self._gate is None:  # a message for each that was taken: the commit records it
            super().publish(batch)
            return
        count = batch.count
        with self.lock:  # the timer of a source publishes too
            super().publish(batch)
            self._account.look(self._account.notes.sent(batch, count, self.last_bytes, not self.spec.inputs))


class RecordingAwaitingPort(RecordingPort, AwaitingPort):
    """Several calls at a time: each from its beginning until it is handed on."""

    def try_begin(self) -> list[Batch] | None:
        batches = super().try_begin()
        if batches is not None:
            self._account.notes.begin_one_of_many((batches[0].sequence, batches[0].number))
        return batches

    def turn_to(self, batch: Batch) -> None:
        super().turn_to(batch)
        self._account.notes.turn_to((batch.sequence, batch.number))


def open_port(
    spec: WorkerSpec,
    segment: Segment,
    socks: list[socket.socket],
    program: Program,
    shared_arena: Arena | None = None,
) -> WorkerPort:
    """Return the port that a program needs."""
    awaits = getattr(program, "awaits", False)
    kind: type[WorkerPort]
    if spec.areas.record is None:
        kind = AwaitingPort if awaits else WorkerPort
    else:
        kind = RecordingAwaitingPort if awaits else RecordingPort
    return kind(spec, segment, socks, program, shared_arena)
