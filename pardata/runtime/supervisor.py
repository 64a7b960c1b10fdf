"""The parent's side of its workers: start, hear, replace, end.

      control socket readable -> on_event        sentinel readable -> process ended -> replaced, or on_lost
      both are registered with the one selector that the parent waits on; nothing here polls

A worker is replaced with the same span, sockets and program: its successor finds in the span how far it had got. The
table of `process.lifecycle` says which action follows an event; this file finds the events and carries the actions out.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from pardata.channel.collector import Collector
from pardata.errors import CapacityError
from pardata.memory.budget import LIVE, RESERVED
from pardata.memory.segment import Segment
from pardata.process.interrupts import Uninterrupted
from pardata.process.launcher import Process
from pardata.process.lifecycle import DEATHS_PER_ITEM, IN_A_ROW, Action, Event, State
from pardata.runtime.events import Closed, Departing, Done, Failed, Hurried, WorkerEvent, encode, receive_event
from pardata.runtime.header import (
    ALONE,
    ALONE_UNTIL,
    AWAITS,
    BEGUN_NS,
    CURRENT_CALL,
    EXITS_NS,
    LEAVE,
    LOADING,
    batch_of_word,
)
from pardata.runtime.output.descriptors import standard_streams
from pardata.runtime.stopping import wait_for_ends
from pardata.runtime.supervised import Limits, Lost, Worker, deaths_of

_SOON_S: Final = 0.001  # before this the time is not looked at again

__all__ = ["Limits", "Lost", "Supervisor", "Worker", "deaths_of"]


class Supervisor:
    """start / stop, and the handlers that a `Collector` calls."""

    def __init__(
        self,
        segment: Segment,
        collector: Collector,
        on_event: Callable[[Worker, WorkerEvent], None],
        on_lost: Callable[[Lost], None],
        deaths_per_item: int = DEATHS_PER_ITEM,
    ) -> None:
        self.workers: list[Worker] = []
        self.max_restarts: int | None = None  # of all workers together
        self._deaths_per_item = deaths_per_item  # a pool looks at each death of a task itself
        self._segment = segment
        self._collector = collector
        self._on_event = on_event
        self._on_lost = on_lost
        self._timed: list[Worker] = []
        self._paused: list[Worker] = []

    # -- starting --------------------------------------------------------------------------------------------------

    def start(self, worker: Worker) -> None:
        """Start a worker. Raises `CapacityError` if the system has no process for it."""
        self.workers.append(worker)
        self._collector.watch(worker.control, lambda: self._hear(worker))
        if worker.shortest_s is not None:
            self._timed.append(worker)
        self._launch(worker)

    def _launch(self, worker: Worker) -> None:
        socks = [sock.fileno() for sock in worker.child_socks]
        worker.words[CURRENT_CALL], worker.words[BEGUN_NS] = LOADING, time.monotonic_ns()
        # All of them are written while the span has no process.
        worker.words[EXITS_NS] = worker.words[LEAVE] = 0
        with Uninterrupted():  # a process that was started is known
            with standard_streams() as streams:
                worker.process = Process(*worker.spec_at, [self._segment.fd, *socks, *streams])
            worker.life.on(Event.STARTED)
            self._collector.watch(worker.process.sentinel, lambda: self._watch(worker))
        worker.deaths.started()

    def restart(self, worker: Worker) -> None:
        """Start the successor of a worker that was lost: its owner goes on without the item that it has died of."""
        self._do(worker, worker.life.on(Event.RESTART), None)

    def _replace(self, worker: Worker) -> None:
        """Start the next process of a worker, or have `enforce` do it when its pause is over."""
        if self.max_restarts is not None and sum(each.restarts for each in self.workers) >= self.max_restarts:
            lost = Lost(worker, None, 1, spent=self.max_restarts)
            self._do(worker, worker.life.on(Event.REFUSED_FOR_GOOD), lost)
            return
        pause_s = worker.deaths.pause_s
        if pause_s:
            worker.start_at_s = time.monotonic() + pause_s
            self._paused.append(worker)
        else:
            self._start_next(worker)

    def _start_next(self, worker: Worker) -> None:
        try:
            self._launch(worker)
        except CapacityError as refusal:
            may_try_again = worker.deaths.refused()
            event = Event.REFUSED if may_try_again else Event.REFUSED_FOR_GOOD
            self._do(worker, worker.life.on(event), Lost(worker, None, 1, refusal=refusal))
        else:
            worker.restarts += 1

    # -- hearing ---------------------------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take in all events until now: results may have come faster over the channels."""
        for worker in self.workers:
            self._hear(worker)

    def _hear(self, worker: Worker) -> None:
        while True:
            try:
                event = receive_event(worker.control)
            except BlockingIOError:
                return
            if event is None:
                return
            if isinstance(event, Hurried):
                self._kill(worker)
                continue
            if isinstance(event, Closed | Done):
                worker.closed = True
            if isinstance(event, Done | Failed):
                worker.life.on(Event.SAID_DONE)
            elif isinstance(event, Departing):
                worker.life.on(Event.SAID_LEAVING)
            self._on_event(worker, event)

    def _watch(self, worker: Worker) -> None:
        """Take in that a process has ended, if it has."""
        process = worker.process
        if process is None or process.ended or not process.receive():
            return
        self._collector.unwatch(process.sentinel)
        process.close()
        self._hear(worker)  # its events before it ended
        # Asked behind its last events: one that said that it was done, or leaving, has not been lost.
        if worker.life.state in (State.ALIVE, State.OVERDUE):
            worker.note_death()
            event, lost = self._decide(worker)
        else:
            event, lost = Event.DIED, None
        self._do(worker, worker.life.on(event), lost)

    def _decide(self, worker: Worker) -> tuple[Event, Lost | None]:
        """Return whether a worker that has died of itself may be replaced, and the loss to tell if not."""
        doing, deaths = worker.doing, worker.deaths
        late, worker.late = worker.late, None
        if late is not None:
            return self._decide_late(worker, batch_of_word(doing) if doing == late else None)
        if doing == AWAITS:
            if deaths.while_awaiting() == DEATHS_PER_ITEM:
                worker.words[ALONE_UNTIL] = ALONE
            return Event.DIED, None
        if doing == LOADING or (doing == 0 and worker.redoable):
            lived_s = (time.monotonic_ns() - worker.words[BEGUN_NS]) / 1e9
            count, limit, is_redoable = deaths.for_nothing(worker.finished, lived_s), IN_A_ROW, True
            batch = None
        else:
            batch = batch_of_word(doing)
            count, limit, is_redoable = deaths.at_item(batch), self._deaths_per_item, worker.redoable
        if count < limit and is_redoable:
            return Event.DIED, None
        return Event.DIED_FOR_GOOD, Lost(worker, batch, count)

    def _decide_late(self, worker: Worker, batch: tuple[int, int] | None) -> tuple[Event, Lost | None]:
        """As `_decide` for one that was killed because it was late with `batch`; None: it had just got over it."""
        if batch is None:
            return Event.DIED, None
        limits, times = worker.limits_of(batch), worker.deaths.late(batch)
        if times <= limits.retries:
            return Event.DIED, None
        return Event.DIED_FOR_GOOD, Lost(worker, batch, times, limits.timeout_s or 0.0)

    def _do(self, worker: Worker, action: Action, lost: Lost | None) -> None:
        if action is Action.START:
            self._replace(worker)
        elif action is Action.KILL:
            assert worker.process is not None
            worker.process.signal(signal.SIGKILL)
        elif action is Action.TELL:
            assert lost is not None
            self._on_lost(lost)
        elif action is Action.ASK:
            worker.words[LEAVE] = 1  # looked at before each item; the message wakes a worker that waits
            with contextlib.suppress(OSError):
                worker.control.send(b"cancel")
        elif action is Action.GIVE_BACK:
            # It was done and saw its arrays off. If it was killed there, nobody counts any more which of them are
            # released; the others keep their pages until the end of the run. Its words have no other writer now.
            worker.words[LIVE] = worker.words[RESERVED] = 0

    # -- the time --------------------------------------------------------------------------------------------------

    def enforce(self) -> float | None:
        """Kill workers that are late, start those whose pause is over; return in how many seconds to look again."""
        if not self._timed and not self._paused:
            return None
        due_s = [self._look(worker) for worker in self._timed if worker.life.state is State.ALIVE]
        waiting, self._paused = self._paused, []
        now_s = time.monotonic()
        for worker in waiting:
            if worker.life.state is not State.PAUSED:
                continue
            if worker.start_at_s <= now_s:
                self._start_next(worker)
            else:
                self._paused.append(worker)
        due_s += [worker.start_at_s - now_s for worker in self._paused]
        return max(_SOON_S, min(due_s)) if due_s else None

    def _look(self, worker: Worker) -> float:
        """Kill a worker if it is late; return in how many seconds it may be."""
        call = worker.words[CURRENT_CALL]  # read once: it may be at another one any moment, until the signal is there
        left_s = worker.late_in_s(call)
        if left_s > 0:
            return left_s
        assert worker.shortest_s is not None
        worker.late = call  # its last CURRENT_CALL is compared with this, so that no other call is blamed
        self._do(worker, worker.life.on(Event.TOO_LATE), None)
        return worker.shortest_s  # its end is an event

    # -- ending ----------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Have the thread that is in `stop`, or will be, kill the workers. A signal's handler may call it: no lock.

        The thread hears of it as of the workers' events: the other ends of the control sockets are here as well.
        """
        for worker in list(self.workers):
            with contextlib.suppress(OSError):
                worker.child_socks[0].send(encode(Hurried()), socket.MSG_DONTWAIT)

    @staticmethod
    def _kill(worker: Worker) -> None:
        if worker.process is not None:
            worker.process.signal(signal.SIGKILL)

    def stop(self, calls_s: float) -> None:
        """End every worker: ask, then SIGTERM, then SIGKILL. Returns when all are gone, also on Ctrl-C.

        The calls that are under way have `calls_s` seconds. A worker that has come back from them has
        `process.ending.EXIT_S` seconds for the user's clean-up, and as many for its exit functions.
        """
        try:
            for worker in self.workers:
                self._do(worker, worker.life.on(Event.STOP), None)
            wait_for_ends(self.workers, calls_s, self._hear, self._watch)
        finally:
            for worker in self.workers:
                self._kill(worker)
            wait_for_ends(self.workers, 0.0, self._hear, self._watch)
