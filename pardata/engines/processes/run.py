"""The caller's loop of a run on processes: it waits for items, for the workers' reports, and for their deaths.

      workers' items --------> port --\
      workers' events, deaths ---------> one selector: `Loop.fill` --> items of the caller
      limits of time, bars ------------/
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import Any, Final

from pardata.engines.processes.outcome import RunOutcome
from pardata.engines.processes.parts import Parts
from pardata.engines.processes.report import Statistics
from pardata.engines.processes.stall import StallWatch
from pardata.engines.processes.tuner import ProcessTuner
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.programs.joining import join_batches
from pardata.process.interrupts import INTERRUPT_S
from pardata.runtime.header import CONSUMER_BUSY, THREAD
from pardata.runtime.stage_bars import REFRESH_S
from pardata.runtime.supervisor import Supervisor
from pardata.runtime.worker.port import WorkerPort
from pardata.runtime.worker.program import UnloadableError

# While other threads have an item, a thread that waits for one checks this often whether they have ended: Python does
# not tell it.
_AWAY_S: Final = 0.1


class Loop:
    """Fetches items in the thread that asks for them, and supervises the workers meanwhile.

    Parameters
    ----------
    away : set of int
        The threads that have taken an item and not come back for the next; `ProcessRun` notes them.
    tuner : ProcessTuner, optional
        Of a plan with stages whose workers it sets.
    """

    def __init__(
        self,
        plan: Plan,
        parts: Parts,
        statistics: Statistics,
        outcome: RunOutcome,
        port: WorkerPort,
        supervisor: Supervisor,
        stall_s: float | None,
        away: set[int],
        tuner: ProcessTuner | None,
    ) -> None:
        self._iterated = plan.iterated
        self._policy = plan.last.fanin.policy
        self._threads = parts.threads
        terminal = {stage.name for stage in plan.ends}
        self._last_workers = [worker for worker in parts.processes if worker.stage in terminal]
        self._statistics = statistics
        self._outcome = outcome
        self._port = port
        self._supervisor = supervisor
        self._stall = StallWatch(plan, statistics.words, stall_s)
        self._away = away
        self._tuner = tuner

    def fill(self, items: deque[Any]) -> None:
        """Add the next items; none at the end of the run, and if another thread closes it."""
        port, outcome = self._port, self._outcome
        self._stall.begin()
        while not items and not port.control.is_cancelled:
            late_in_s = self._supervisor.enforce()
            tuned_in_s = None if self._tuner is None else self._tuner.look()
            if outcome.failure is not None:
                raise outcome.failure
            try:
                batches = port.try_take()
            except UnloadableError as error:
                raise error.failure().original from None
            if batches is not None:
                items.extend(join_batches(batches, self._policy).items)
                del batches
                port.commit()
            elif self._at_end():
                self._listen()
                outcome.check_at_end()
                if outcome.failure is None:
                    break
            else:
                is_away = self._is_another_away()
                # SYNC POINT: consumer (`Quiescence.look`). Told before the wait: a worker that needs memory asks if the
                # caller may still let go of some. Only this process writes these two words.
                port.words[THREAD], port.words[CONSUMER_BUSY] = threading.get_native_id(), is_away
                looks = [REFRESH_S if self._statistics.bars is not None else None, _AWAY_S if is_away else None]
                waits = [INTERRUPT_S, late_in_s, tuned_in_s, self._stall.look(), *looks]
                port.collector.wait(min(wait for wait in waits if wait is not None))
            self._statistics.show()
        port.words[CONSUMER_BUSY] = 1  # SYNC POINT: consumer. Before the caller has the item, and with it its memory

    def _is_another_away(self) -> bool:
        """Return whether another thread has an item, so that it may still let go of memory."""
        if self._away:
            self._away &= {thread.ident for thread in threading.enumerate()}
        return bool(self._away)

    def _at_end(self) -> bool:
        if self._iterated:
            return self._port.collector.at_end
        return all(worker.closed for worker in self._last_workers) and all(
            local.closed for local in self._threads if not local.stage.consumers
        )

    def _listen(self) -> None:
        """Hear of every item that was skipped, before the run is taken for complete."""
        self._supervisor.listen()
        for local in self._threads:
            with contextlib.suppress(BlockingIOError):
                while self._outcome.hear(local):
                    pass
