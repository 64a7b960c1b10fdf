"""Ports of threads that record what their worker does, as `runtime.recording.recording_port` for processes."""

from __future__ import annotations

import threading
import time

from pardata.codec.batch_codec import Batch
from pardata.engines.threads.awaiting_port import AwaitingThreadPort
from pardata.engines.threads.hub import Hub
from pardata.engines.threads.inbox import Inbox
from pardata.engines.threads.port import ThreadPort
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.recording.call_notes import CallNotes
from pardata.runtime.recording.record import WorkerRecord
from pardata.runtime.recording.recorder import Recorder, read, record_bytes


class RecordingThreadPort(ThreadPort):
    """A port that records its calls and counters in memory of the process."""

    def __init__(self, hub: Hub, stage: Stage, inbox: Inbox, index: int = 0) -> None:
        super().__init__(hub, stage, inbox, index)
        self._memory = memoryview(bytearray(record_bytes(stage.workers)))
        counts = self.statistics
        self._notes = CallNotes(
            Recorder(self._memory), lambda: (int(counts.blocked_s * 1e9), counts.bytes, counts.items)
        )
        self._taken_count = 0

    def record(self) -> WorkerRecord:
        """Return what was recorded until now."""
        return WorkerRecord(self._stage.name, self.index, read(self._memory), True, self._stage.node.lanes)

    def _sleep(self, condition: threading.Condition, timeout_s: float | None = None) -> float:
        self._look(time.perf_counter_ns())
        return super()._sleep(condition, timeout_s)

    def loaded(self) -> None:
        self._notes.begin()

    def take(self, timeout_s: float | None = None) -> list[Batch] | None:
        batches = super().take(timeout_s)
        self._notes.begin()
        self._look(time.perf_counter_ns())
        if batches:
            self._taken_count = batches[0].count
        return batches

    def commit(self) -> None:
        super().commit()
        self._look(self._notes.end(*self._taken, self._taken_count))

    def token(self, number: int) -> int:
        self._notes.made()
        return super().token(number)

    def publish(self, batch: Batch) -> None:
        count = batch.count
        super().publish(batch)
        if self._stage.own_sequence is not None:
            self._look(self._notes.sent(batch, count, self.last_bytes, self._stage.kind is Kind.SOURCE))

    def close_outputs(self) -> None:
        super().close_outputs()
        self._sample(time.perf_counter_ns())

    def _look(self, now_ns: int) -> None:
        if now_ns >= self._notes.recorder.due_ns:
            self._sample(now_ns)

    def _sample(self, now_ns: int) -> None:
        counts = self.statistics
        busy_s = counts.busy_s + max(0.0, now_ns / 1e9 - self._mark_s)
        seconds = [int(1e9 * value) for value in (busy_s, counts.starved_s, counts.blocked_s)]
        self._notes.recorder.sample(now_ns, counts.items, counts.bytes, *seconds, 0, 0, 0)


class RecordingAwaitingThreadPort(RecordingThreadPort, AwaitingThreadPort):
    """Several calls at a time: each from its beginning until it is handed on."""

    def try_begin(self) -> list[Batch] | None:
        batches = super().try_begin()
        if batches is not None:
            self._notes.begin_one_of_many((batches[0].sequence, batches[0].number))
        return batches

    def turn_to(self, batch: Batch) -> None:
        super().turn_to(batch)
        self._taken_count = batch.count
        self._notes.turn_to((batch.sequence, batch.number))
