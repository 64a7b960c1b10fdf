"""A serial run that records: a call is what a stage does for its next message, without the stages in front of it."""

from __future__ import annotations

import time
from dataclasses import replace

from pardata.codec.batch_codec import Batch
from pardata.engines.pulling import Giver
from pardata.engines.serial import SerialRun
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.run import RunOptions
from pardata.runtime.context import of_thread
from pardata.runtime.progress import RunReport
from pardata.runtime.recording.record import RunRecord, WorkerRecord
from pardata.runtime.recording.recorder import Recorder, read, record_bytes


class RecordingSerialRun(SerialRun):
    """A run in the calling thread that records."""

    def __init__(self, plan: Plan, options: RunOptions) -> None:
        self._memories = {stage: memoryview(bytearray(record_bytes(1))) for stage in plan.worker_stages}
        self._recorders = {stage: Recorder(memory) for stage, memory in self._memories.items()}
        self._told_s: dict[Stage, float] = dict.fromkeys(plan.worker_stages, 0.0)
        self._told_items: dict[Stage, int] = dict.fromkeys(plan.worker_stages, 0)
        self._retries = of_thread.retries
        super().__init__(plan, options)

    def _hand_on(self, giver: Giver, batch: Batch) -> None:
        now_ns, stage = time.perf_counter_ns(), giver.stage
        sequence, number, count = batch.sequence, batch.number, batch.count
        sent_bytes = self._statistics[stage].bytes
        super()._hand_on(giver, batch)
        recorder, counts = self._recorders.get(stage), self._statistics[stage]
        if recorder is None:  # the caller
            return
        took_ns = int(1e9 * (counts.busy_s - self._told_s[stage]))
        self._told_s[stage] = counts.busy_s
        retries, self._retries = of_thread.retries - self._retries, of_thread.retries
        done, self._told_items[stage] = counts.items - self._told_items[stage], counts.items
        recorder.call(now_ns - took_ns, now_ns, 0, sequence, number, count, done, counts.bytes - sent_bytes, retries)
        if now_ns >= recorder.due_ns:
            recorder.sample(now_ns, counts.items, counts.bytes, int(1e9 * counts.busy_s), 0, 0, 0, 0, 0)

    def report(self) -> RunReport:
        report = super().report()
        begin_ns = int(self._begin_s * 1e9)
        workers = [WorkerRecord(stage.name, 0, read(memory), True) for stage, memory in self._memories.items()]
        record = RunRecord(begin_ns, begin_ns + int(1e9 * report.seconds), workers)
        return replace(report, surroundings=replace(report.surroundings, record=record))
