"""Ports of threads that record what their worker does, as `runtime.recording.recording_port` for processes."""

from __future__ import annotations

import threading
import time

from pardata.codec.batch_codec import Batch
from pardata.engines.threads.awaiting_port import AwaitingThreadPort
from pardata.engines.threads.hub import Hub
from pardata.engines.threads.inbox import Inbox
from pardata.engines.threads.port import ThreadPort
from pardata.engines.threads.times import ThreadTimes
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.progress import StageStatistics
from pardata.runtime.recording.call_notes import CallNotes
from pardata.runtime.recording.record import WorkerRecord
from pardata.runtime.recording.recorder import Recorder, read, record_sizes


class RecordingTimes(ThreadTimes):
    """The times of a thread, and what it records of them and of its calls, in memory of the process.

    Attributes
    ----------
    notes : CallNotes
        Of the call at work.
    count : int
        Of the message that was taken.
    """

    def __init__(self, counts: StageStatistics, nbytes: int) -> None:
        super().__init__(counts)
        self._counts = counts
        recorder = Recorder(memoryview(bytearray(nbytes)))
        self.notes = CallNotes(recorder, lambda: (int(counts.blocked_s * 1e9), counts.bytes, counts.items))
        self.count = 0

    def look(self, now_ns: int) -> None:
        """Record the counters, if it is time."""
        if now_ns >= self.notes.recorder.due_ns:
            self.sample(now_ns)

    def sample(self, now_ns: int) -> None:
        """Record the counters; what is busy since they were brought up to date counts as well."""
        counts = self._counts
        busy_s = counts.busy_s + max(0.0, now_ns / 1e9 - self.mark_s)
        seconds = [int(1e9 * value) for value in (busy_s, counts.starved_s, counts.blocked_s)]
        self.notes.recorder.sample(now_ns, counts.items, counts.bytes, *seconds, 0, 0, 0)


class RecordingThreadPort(ThreadPort):
    """A port that records."""

    _times: RecordingTimes

    def __init__(self, hub: Hub, stage: Stage, inbox: Inbox, index: int = 0) -> None:
        super().__init__(hub, stage, inbox, index)
        stages = hub.plan.worker_stages
        sizes = record_sizes([each.workers for each in stages])
        self._times = RecordingTimes(self.statistics, sizes[stages.index(stage)])

    def record(self) -> WorkerRecord:
        """Return what was recorded until now."""
        recorded = read(self._times.notes.recorder.memory)
        return WorkerRecord(self._stage.name, self.index, recorded, True, self._stage.node.lanes)

    def _sleep(self, condition: threading.Condition, timeout_s: float | None = None) -> float:
        self._times.look(time.perf_counter_ns())
        return super()._sleep(condition, timeout_s)

    def loaded(self) -> None:
        self._times.notes.begin()

    def take(self, timeout_s: float | None = None) -> list[Batch] | None:
        batches, times = super().take(timeout_s), self._times
        times.notes.begin()
        times.look(time.perf_counter_ns())
        if batches:
            times.count = batches[0].count
        return batches

    def commit(self) -> None:
        super().commit()
        self._times.look(self._times.notes.end(*self._taken, self._times.count))

    def token(self, number: int) -> int:
        self._times.notes.made()
        return super().token(number)

    def publish(self, batch: Batch) -> None:
        count = batch.count
        super().publish(batch)
        if self._stage.own_sequence is not None:
            is_source = self._stage.kind is Kind.SOURCE
            self._times.look(self._times.notes.sent(batch, count, self.last_bytes, is_source))

    def close_outputs(self) -> None:
        super().close_outputs()
        self._times.sample(time.perf_counter_ns())


class RecordingAwaitingThreadPort(RecordingThreadPort, AwaitingThreadPort):
    """Several calls at a time: each from its beginning until it is handed on."""

    def try_begin(self) -> list[Batch] | None:
        batches = super().try_begin()
        if batches is not None:
            self._times.notes.begin_one_of_many((batches[0].sequence, batches[0].number))
        return batches

    def turn_to(self, batch: Batch) -> None:
        super().turn_to(batch)
        self._times.count = batch.count
        self._times.notes.turn_to((batch.sequence, batch.number))
