"""The workers of stages with workers="auto" on threads: they start when they are first needed, and rest when not."""

from __future__ import annotations

from pardata.engines.threads.hub import Hub
from pardata.engines.threads.port import ThreadPort
from pardata.engines.tuner import Tuner
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.allotment import StageCounts


class ThreadTuner(Tuner):
    """Says how many threads of a stage take items; the run starts those that are missing.

    Parameters
    ----------
    ports : dict
        Those of the threads of each stage.
    """

    def __init__(self, hub: Hub, ports: dict[Stage, list[ThreadPort]]) -> None:
        super().__init__(hub.plan)
        self._hub = hub
        self._ports = ports

    def counts(self) -> list[StageCounts]:
        return [self._counts_of(stage) for stage in self._stages]

    def _counts_of(self, stage: Stage) -> StageCounts:
        ports = self._ports[stage]
        parts = [port.statistics for port in ports]
        going_on = [port.going_on() for port in ports[: self.workers_of(stage)]]  # the others rest
        return StageCounts(
            sum(part.items for part in parts),
            sum(part.dropped + part.failed for part in parts),
            sum(part.busy_s for part in parts) + sum(busy_s for busy_s, _ in going_on),
            sum(part.starved_s + part.blocked_s for part in parts) + sum(waited_s for _, waited_s in going_on),
        )

    def may_get_work(self, stage: Stage) -> bool:
        inbox = self._hub.inboxes[stage]  # which has no bound: all may be there, and those who gave it have ended
        has_ended = not any(inbox.senders)
        return not has_ended or (inbox.waiting > 0 and len(self._ports[stage]) == inbox.in_use)  # others ended as well

    def change(self, stage: Stage, old: int, new: int) -> bool:
        with self._hub.lock:
            inbox = self._hub.inboxes[stage]
            inbox.in_use = new
            inbox.changed.notify_all()
        return True
