"""A serial run that records: a call is what a stage does for its next message, without the stages in front of it."""

from __future__ import annotations

import time
from dataclasses import replace

from pardata.codec.batch_codec import Batch
from pardata.engines.pulling import Giver
from pardata.engines.serial import SerialRun
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import RunOptions
from pardata.runtime.context import of_thread
from pardata.runtime.progress import RunReport, StageStatistics
from pardata.runtime.recording.record import RunRecord, WorkerRecord
from pardata.runtime.recording.recorder import Recorder, read, record_sizes


class StageNotes:
    """Records the calls of one stage.

    Attributes
    ----------
    memory : memoryview
        What `recorder.read` reads.
    """

    def __init__(self, counts: StageStatistics, nbytes: int) -> None:
        self.memory = memoryview(bytearray(nbytes))
        self._recorder = Recorder(self.memory)
        self._counts = counts
        self._told = (0.0, 0, 0)  # busy_s, items and bytes at the end of the last call
        self._retries = of_thread.retries

    def end(self, now_ns: int, sequence: int, number: int, count: int) -> None:
        """Record a call: what the stage has done since its last one."""
        recorder, counts = self._recorder, self._counts
        busy_s, items, nbytes = self._told
        self._told = counts.busy_s, counts.items, counts.bytes
        retries, self._retries = of_thread.retries - self._retries, of_thread.retries
        took_ns, done = int(1e9 * (counts.busy_s - busy_s)), counts.items - items
        recorder.call(now_ns - took_ns, now_ns, 0, sequence, number, count, done, counts.bytes - nbytes, retries)
        if now_ns >= recorder.due_ns:
            recorder.sample(now_ns, counts.items, counts.bytes, int(1e9 * counts.busy_s), 0, 0, 0, 0, 0)


class RecordingSerialRun(SerialRun):
    """A run in the calling thread that records."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        super().__init__(plan, options)
        stages = plan.worker_stages
        sizes = record_sizes([1] * len(stages))
        self._notes = {
            stage: StageNotes(self._statistics[stage], nbytes) for stage, nbytes in zip(stages, sizes, strict=True)
        }

    def _hand_on(self, giver: Giver, batch: Batch) -> None:
        now_ns, notes = time.perf_counter_ns(), self._notes.get(giver.stage)
        sequence, number, count = batch.sequence, batch.number, batch.count
        super()._hand_on(giver, batch)
        if notes is not None:  # it is not the caller
            notes.end(now_ns, sequence, number, count)

    def report(self) -> RunReport:
        report = super().report()
        begin_ns = int(self._begin_s * 1e9)
        workers = [WorkerRecord(stage.name, 0, read(notes.memory), True) for stage, notes in self._notes.items()]
        record = RunRecord(begin_ns, begin_ns + int(1e9 * report.seconds), workers)
        return replace(report, surroundings=replace(report.surroundings, record=record))
