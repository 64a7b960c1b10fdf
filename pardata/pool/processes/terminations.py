"""Why a worker is ended, and what becomes of the task that one has died of.

A worker is ended for one call: because it takes too long, or because its future was cancelled. Until the signal is on
its way the worker may have come to its end by itself, so the call is named, and looked at again afterwards.
"""

from __future__ import annotations

import signal
import time
from typing import Final, NamedTuple

from pardata.pool.jobs.job import Death, Effect, Task
from pardata.pool.processes.assignments import Assignments, WorkerSlot

_PATIENCE_S: Final = 0.02  # until a signal is tried again for which the process was not far enough


class Cause(NamedTuple):
    """Why a worker is being ended: for this call of this task."""

    number: int
    position: int
    is_late: bool


class Terminations:
    """The workers that are being ended; see `Dispatcher`, with whose lock held everything here is called.

    Parameters
    ----------
    timeout_s : float, optional
        What a call may take.
    """

    def __init__(self, seats: list[WorkerSlot], assignments: Assignments, timeout_s: float | None) -> None:
        self.dropped: set[int] = set()  # tasks of futures that were cancelled while they ran
        self.verdicts: dict[WorkerSlot, Cause] = {}
        self._seats = seats
        self._assignments = assignments
        self._timeout_s = timeout_s

    def drop(self, task: Task) -> None:
        """Let nothing come of a task that a worker has."""
        self.dropped.add(task.number)
        self.end_dropped(task.seat)

    def end_dropped(self, seat: WorkerSlot) -> None:
        """End a worker whose task at hand is not wanted any more."""
        if not seat.numbers or seat.numbers[0] not in self.dropped:
            return
        verdict = self.verdicts.get(seat)
        if verdict is None or verdict.number != seat.numbers[0]:  # that one was for a task that has come to its end
            self.verdicts[seat] = Cause(seat.numbers[0], 0, False)
            self._kill(seat)

    def enforce(self) -> None:
        """End workers that are late, and those that could not be ended before."""
        if self._timeout_s is not None:
            self._condemn_late(self._timeout_s)
        for seat in list(self.verdicts):
            self._kill(seat)

    def _condemn_late(self, timeout_s: float) -> None:
        now = time.perf_counter_ns()
        for seat in self._seats:
            started, position = seat.started_ns, seat.position()
            if not started or not seat.numbers or seat in self.verdicts or now - started < timeout_s * 1e9:
                continue
            if seat.at_work == seat.numbers[0] and seat.started_ns == started:
                self.verdicts[seat] = Cause(seat.numbers[0], position, True)

    def _kill(self, seat: WorkerSlot) -> None:
        """End the worker, if it still does what it is to be ended for."""
        process, verdict = seat.worker.process, self.verdicts[seat]
        if process is None:
            return
        if not seat.numbers or seat.numbers[0] != verdict.number:
            del self.verdicts[seat]  # it has come to its end by itself
        elif not process.ended and seat.at_work == verdict.number:  # else it has not begun: later
            process.signal(signal.SIGKILL)

    def on_worker_death(self, seat: WorkerSlot, number: int) -> tuple[Task | None, Effect | None, bool]:
        """Take in that a worker has died of task `number`.

        Returns
        -------
        the task (None: it had come to its end), what the user is to notice, and whether the task is to blame
        """
        verdict = self.verdicts.pop(seat, None)
        position = seat.position()
        task = self._assignments.withdraw(number)
        effect, is_blamed = None, False
        if task is not None:
            begin, end = seat.calls_at_work(task)
            is_meant = verdict is not None and (verdict.number, verdict.position) == (number, position)
            if number in self.dropped:
                self.dropped.discard(number)
            elif is_meant and verdict is not None and verdict.is_late:
                effect = task.job.overdue(task, begin, end, self._timeout_s or 0.0)
            elif verdict is not None:
                # its worker was about to be ended for something before that
                effect = task.job.again(task, bool(seat.started_ns or position))
            else:
                effect, is_blamed = task.job.lost(task, _death(seat, begin, end)), True
        seat.clear()
        return task, effect, is_blamed

    def bury_dropped(self, seat: WorkerSlot) -> None:
        """Take from a dead worker also those tasks behind the one at hand that are not wanted any more."""
        for number in self.dropped.intersection(seat.numbers):
            self._assignments.withdraw(number)
            self.dropped.discard(number)

    def due_s(self) -> float | None:
        """Seconds until something has to be looked after that nobody tells; None: never."""
        if self.verdicts:
            return _PATIENCE_S
        if self._timeout_s is None or not self._assignments.tasks:
            return None
        now, timeout_ns = time.perf_counter_ns(), int(self._timeout_s * 1e9)
        rest = timeout_ns // 2  # for a worker that has not begun yet
        for seat in self._seats:
            started = seat.started_ns
            if seat.numbers and started:
                rest = min(rest, started + timeout_ns - now)
        return max(0.0, rest / 1e9)


def _death(seat: WorkerSlot, begin: int, end: int) -> Death:
    process = seat.worker.process
    if process is None:
        return Death(begin, end, None, None)
    return Death(begin, end, process.status, process.peak_bytes)
