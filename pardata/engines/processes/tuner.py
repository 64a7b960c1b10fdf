"""The workers of stages with workers="auto" on processes: they begin when they are first needed, and rest when not.

A stage has spans, sockets and channels for as many workers as it may have. One that rests is a process that sleeps: its
word RESTS tells senders to pass it over, and what it has been given it does. So nothing of a run changes its shape, and
a worker that is killed while it rests is replaced as any other.
"""

from __future__ import annotations

import threading
import time
from array import array
from typing import Final

from pardata.channel.channel import CLOSE, DOORBELL, LOOK, set_unused, try_send
from pardata.engines.processes.layout import Layout
from pardata.engines.processes.parts import Parts
from pardata.engines.tuner import Tuner
from pardata.errors import CapacityError
from pardata.memory.budget import CONTROL
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.process.lifecycle import State
from pardata.runtime.allotment import StageCounts
from pardata.runtime.header import CURRENT_CALL, DROPPED, ENDED, FAILED, INCARNATION, ITEMS, RESTS, WAITS_FOR, times_of
from pardata.runtime.progress import StageStatistics
from pardata.runtime.supervisor import Supervisor, Worker
from pardata.runtime.wiring import WorkerImage

_WAKE_UP: Final = array("q", [LOOK, 0]).tobytes()  # for a sender that waits


class ProcessTuner(Tuner):
    """Starts workers of a run, and has them rest."""

    def __init__(self, plan: Plan, parts: Parts, layout: Layout, supervisor: Supervisor) -> None:
        super().__init__(plan)
        self._segment = parts.heap.segment
        self._images = layout.workers_of
        self._words = {
            stage: [image.span.words(self._segment) for image in layout.workers_of[stage]] for stage in self._stages
        }
        self._processes: dict[str, list[Worker]] = {}
        for worker in parts.processes:
            self._processes.setdefault(worker.stage, []).append(worker)
        for stage in self._stages:
            for worker, image in zip(self._processes.get(stage.name, ()), layout.workers_of[stage], strict=False):
                if image in layout.spares:
                    self._lay_aside(worker, image)
        self._supervisor = supervisor
        self._waited_ns = {stage: [0] * stage.workers for stage in self._stages}  # at the last look
        self._counted_ns = dict.fromkeys(self._stages, 0)  # of the waits of workers in use
        self._rested_ns = dict.fromkeys(self._stages, 0)
        self._counting = threading.RLock()  # a report may be made in another thread, or by a signal's handler

    def counts(self) -> list[StageCounts]:
        with self._counting:
            now_ns = time.monotonic_ns()
            return [self._counts_of(stage, now_ns) for stage in self._stages]

    def _counts_of(self, stage: Stage, now_ns: int) -> StageCounts:
        busy_ns, waited_ns, headers = 0, self._waited_ns[stage], self._words[stage]
        for index, words in enumerate(headers):
            busy, starved, blocked = times_of(words, now_ns)
            busy_ns, waited = busy_ns + busy, starved + blocked
            kept = self._rested_ns if words[RESTS] else self._counted_ns
            kept[stage] += waited - waited_ns[index]
            waited_ns[index] = waited
        dropped = sum(words[DROPPED] + words[FAILED] for words in headers)
        return StageCounts(
            sum(words[ITEMS] for words in headers), dropped, busy_ns / 1e9, self._counted_ns[stage] / 1e9
        )

    def correct(self, statistics: list[StageStatistics]) -> None:
        """Have the statistics of all stages tell of the workers that are in use: one that rests starves of nothing."""
        self.counts()
        for stage, counted in zip(self._stages, statistics, strict=True):
            counted.workers = self.workers_of(stage)
            counted.starved_s = max(0.0, counted.starved_s - self._rested_ns[stage] / 1e9)

    def may_get_work(self, stage: Stage) -> bool:
        return any(not _gives_no_more(words) for edge in stage.edges for words in self._words[edge.stage])

    def change(self, stage: Stage, old: int, new: int) -> bool:
        headers = self._words[stage]
        for index in range(new, old):
            headers[index][RESTS] = 1
        for index in range(old, new):
            worker, image = self._processes[stage.name][index], self._images[stage][index]
            if worker.life.state is State.NEW and not self._start(worker, image):
                self.allotment.workers[self._at[stage]] = index
                return False
            headers[index][RESTS] = 0  # SYNC POINT: rest. Behind `_start`
            for sock in image.socks.inputs:
                try_send(sock, _WAKE_UP)  # where the socket is full, that wakes the sender
        return True

    def _start(self, worker: Worker, image: WorkerImage) -> bool:
        """Start a worker for the first time; return False if the system has no process for it."""
        worker.words[CONTROL] = image.touched
        worker.closed = False
        self._set_unused(image, False)
        try:
            self._supervisor.start(worker)
        except CapacityError:
            worker.words[CONTROL] = worker.words[CURRENT_CALL] = 0
            self._lay_aside(worker, image)
            for sock in image.socks.outputs:
                try_send(sock, DOORBELL.pack(CLOSE))
            return False
        return True

    def _lay_aside(self, worker: Worker, image: WorkerImage) -> None:
        """Have nobody wait for a worker that has no process: its readers count it as ended, and so does the run."""
        worker.closed, worker.words[RESTS] = True, 1
        self._set_unused(image, True)

    def _set_unused(self, image: WorkerImage, is_unused: bool) -> None:
        for output in image.outputs:
            for channel in output.channels:
                set_unused(self._segment, channel, is_unused)


def _gives_no_more(words: memoryview) -> bool:
    """Return whether a worker has ended, or has never begun and is not needed."""
    return words[WAITS_FOR] == ENDED or bool(words[RESTS] and not words[INCARNATION])
