"""Kills workers of a run or of a pool at random."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

from pardata.pool.jobs.job import Task
from pardata.pool.processes.dispatcher import Dispatcher
from pardata.process.lifecycle import IN_A_ROW
from pardata.runtime.header import CURRENT_BATCH, CURRENT_CALL, LOADING
from pardata.runtime.supervisor import Worker


class Killer(threading.Thread):
    """Kills workers of a run, one after the other, until it is told to stop or has killed `most`.

    `others`: returns the runs of the nodes, if it is one on a cluster in this process.
    """

    def __init__(
        self, run: Any, seed: int, most: int | None = None, others: Callable[[], list[Any]] = lambda: []
    ) -> None:
        super().__init__()
        pool = run._loop if isinstance(run, Dispatcher) else None
        self.kills = 0
        self._most = most
        self._workers: Callable[[], list[Worker]] = lambda: [
            worker
            for supervisor in (
                [each._parts.supervisor for each in [run, *others()]] if pool is None else [pool._supervisor]
            )
            for worker in list(supervisor.workers)
        ]
        self._tasks: Callable[[], list[Task]] = lambda: [] if pool is None else list(pool.assignments.tasks.values())
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def run(self) -> None:
        while self.kills != self._most and not self._stopped.wait(self._random.uniform(0.002, 0.02)):
            victims = [worker for worker in self._workers() if self._may_die(worker)]
            if victims:
                at_work = [
                    worker for worker in victims if worker.words[CURRENT_BATCH]
                ]  # where a death has most to mend
                process = self._random.choice((at_work if self._random.random() < 0.8 else []) or victims).process
                assert process is not None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                    self.kills += 1

    def _may_die(self, worker: Worker) -> bool:
        """Whether it lives; one that is still starting is spared mostly, or ten deaths in a row would be real."""
        if worker.done or worker.process is None or worker.process.ended:
            return False
        deaths = [*worker.deaths.at_items.values(), *(task.deaths for task in self._tasks() if _is_with(task, worker))]
        if max(deaths, default=0) >= 2 or worker.deaths.in_a_row >= IN_A_ROW - 2:
            return False  # a third death at the same item would be blamed on the item, a tenth in a row ends the run
        return worker.words[CURRENT_CALL] != LOADING or self._random.random() < 0.02

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def _is_with(task: Task, worker: Worker) -> bool:
    return task.slot is not None and task.slot.worker is worker
