"""Gives the stages with workers="auto" the workers that they need while a run goes on, on any engine.

counts of all stages --> `runtime.allotment.Allotment` --> workers that begin, rest, or go on
"""

from __future__ import annotations

import abc
import time

from pardata.pipeline.plan.node import JOINS, WITH_FUNCTION, Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.allotment import LOOK_S, Allotment, StageCounts, StageShape

_EXACT = (Kind.SOURCE, Kind.MAP, Kind.FILTER, *JOINS)


class Tuner(abc.ABC):
    """Looks at a run every `LOOK_S` seconds, until no stage with workers="auto" is given more.

    Attributes
    ----------
    allotment : Allotment
    """

    def __init__(self, plan: Plan) -> None:
        self._stages = plan.worker_stages
        self._at = {stage: at for at, stage in enumerate(self._stages)}  # `Stage.index` is that in the whole plan
        self.allotment = Allotment(
            [_shape_of(stage, self._at) for stage in self._stages], plan.share.others + plan.share.together
        )
        self._begin_s = time.monotonic()
        self._due_s: float | None = self._begin_s + LOOK_S

    def workers_of(self, stage: Stage) -> int:
        """Return how many workers of a stage are in use."""
        return self.allotment.workers[self._at[stage]]

    def look(self) -> float | None:
        """Change what is to be changed; return in how many seconds to look again, None: never."""
        if self._due_s is None:
            return None
        now_s = time.monotonic()
        if now_s < self._due_s:
            return self._due_s - now_s
        self._due_s = now_s + LOOK_S
        counts = self.counts()
        if not any(stage.is_auto and self.may_get_work(stage) for stage in self._stages):
            self._due_s = None
            return None
        before = self.allotment.workers
        if self.allotment.look(now_s - self._begin_s, counts):
            for stage, old, new in zip(self._stages, before, self.allotment.workers, strict=True):
                if new > old and not self.may_get_work(stage):
                    self.allotment.workers[self._at[stage]] = old
                elif not self.change(stage, old, new):
                    self._due_s = None  # the system has no more processes: it stays as it is
        return LOOK_S

    @abc.abstractmethod
    def counts(self) -> list[StageCounts]:
        """Return the counts of all stages."""

    @abc.abstractmethod
    def may_get_work(self, stage: Stage) -> bool:
        """Return whether another worker of a stage may find something to do, now or later."""

    @abc.abstractmethod
    def change(self, stage: Stage, old: int, new: int) -> bool:
        """Have `new` workers of a stage in use in place of `old`; return False if there cannot be so many."""


def _shape_of(stage: Stage, places: dict[Stage, int]) -> StageShape:
    is_exact = all(edge.stage.kind in _EXACT and edge.branch is None for edge in stage.edges)
    return StageShape(
        tuple(places[edge.stage] for edge in stage.edges),
        stage.first_workers,
        stage.workers,
        stage.kind in WITH_FUNCTION and not stage.node.thread,
        stage.fanin.is_zipped or stage.fanin.policy == "position",
        is_exact,
    )
