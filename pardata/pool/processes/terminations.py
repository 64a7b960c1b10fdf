"""The termination of workers, and the task that a worker has died of.

A worker is ended for one call: because it takes too long, or because its future was cancelled. Until the signal is on
its way the worker may have finished the call: so the cause names the call, and is compared again afterwards.
"""

from __future__ import annotations

import signal
import time
from typing import Final, NamedTuple

from pardata.pool.jobs.job import Death, Effect, Task
from pardata.pool.processes.assignments import Assignments, WorkerSlot

# Until it is tried again to end a worker that was not at the call yet. It tells nobody when it begins a call: only its
# words say so.
_PATIENCE_S: Final = 0.02


class Cause(NamedTuple):
    """The call of a task for which a worker is being ended."""

    number: int
    position: int
    is_late: bool


class Terminations:
    """The workers that are being ended; see `Dispatcher`, with whose lock held everything here is called.

    Parameters
    ----------
    timeout_s : float, optional
        The longest time that a call may take.

    Attributes
    ----------
    ends_all : bool
        The pool's thread ends all workers, without the lock: nobody else signals them, or stands in for that thread.
    """

    def __init__(self, slots: list[WorkerSlot], assignments: Assignments, timeout_s: float | None) -> None:
        self.dropped: set[int] = set()  # tasks of futures that were cancelled while they ran
        self.causes: dict[WorkerSlot, Cause] = {}
        self.ends_all = False
        self._slots = slots
        self._assignments = assignments
        self._timeout_s = timeout_s

    def drop(self, task: Task) -> None:
        """Drop a task that a worker has: its outcome does not count."""
        self.dropped.add(task.number)
        self.end_dropped(task.slot)

    def end_dropped(self, slot: WorkerSlot) -> None:
        """End a worker whose task at hand is not wanted any more."""
        if not slot.numbers or slot.numbers[0] not in self.dropped:
            return
        cause = self.causes.get(slot)
        if cause is None or cause.number != slot.numbers[0]:  # that one was for a task that has come to its end
            self.causes[slot] = Cause(slot.numbers[0], 0, False)
            self._kill(slot)

    def enforce(self) -> None:
        """End workers that are late, and those that could not be ended before."""
        if self._timeout_s is not None:
            self._end_late(self._timeout_s)
        for slot in list(self.causes):
            self._kill(slot)

    def _end_late(self, timeout_s: float) -> None:
        now = time.perf_counter_ns()
        for slot in self._slots:
            started, position = slot.started_ns, slot.position()
            if not started or not slot.numbers or slot in self.causes or now - started < timeout_s * 1e9:
                continue
            # SYNC POINT: position. The worker writes while its words are read here. If the time is still that of the
            # late call, the position, which was read before this, is its own.
            if slot.at_work == slot.numbers[0] and slot.started_ns == started:
                self.causes[slot] = Cause(slot.numbers[0], position, True)

    def _kill(self, slot: WorkerSlot) -> None:
        """End the worker, if it is still at the call that it is to be ended for."""
        process, cause = slot.worker.process, self.causes[slot]
        if process is None or self.ends_all:
            return
        if not slot.numbers or slot.numbers[0] != cause.number:
            del self.causes[slot]  # it has come to its end by itself
        elif not process.ended and slot.at_work == cause.number:  # else it has not begun: later
            # It may get over the call before the signal is there: `on_worker_death` compares once more.
            process.signal(signal.SIGKILL)

    def on_worker_death(self, slot: WorkerSlot, number: int) -> tuple[Task | None, Effect | None, bool]:
        """Take in that a worker has died of task `number`.

        Returns
        -------
        the task (None: it had come to its end), the effect that the user is to notice, and whether the task is to blame
        """
        cause = self.causes.pop(slot, None)
        position = slot.position()
        task = self._assignments.withdraw(number)
        effect, is_blamed = None, False
        if task is not None:
            begin, end = slot.calls_at_work(task)
            is_meant = cause is not None and (cause.number, cause.position) == (number, position)
            if number in self.dropped:
                self.dropped.discard(number)
            elif is_meant and cause is not None and cause.is_late:
                effect = task.job.overdue(task, begin, end, self._timeout_s or 0.0)
            elif cause is not None:
                # its worker was about to be ended for something before that
                effect = task.job.again(task, bool(slot.started_ns or position))
            else:
                effect, is_blamed = task.job.lost(task, _death(slot, begin, end)), True
        slot.clear()
        return task, effect, is_blamed

    def withdraw_dropped(self, slot: WorkerSlot) -> None:
        """Take from a dead worker also those tasks behind the one at hand that were dropped."""
        for number in self.dropped.intersection(slot.numbers):
            self._assignments.withdraw(number)
            self.dropped.discard(number)

    def due_s(self) -> float | None:
        """Return the seconds until the next `enforce`, as no event tells of a late call; None: no need."""
        if self.causes:
            return _PATIENCE_S
        if self._timeout_s is None or not self._assignments.tasks:
            return None
        now, timeout_ns = time.perf_counter_ns(), int(self._timeout_s * 1e9)
        rest = timeout_ns // 2  # for a worker that has not begun yet
        for slot in self._slots:
            started = slot.started_ns
            if slot.numbers and started:
                rest = min(rest, started + timeout_ns - now)
        return max(0.0, rest / 1e9)


def _death(slot: WorkerSlot, begin: int, end: int) -> Death:
    process = slot.worker.process
    if process is None:
        return Death(begin, end, None, None)
    return Death(begin, end, process.status, process.peak_bytes)
