"""Advice on a run in one or two sentences, from the counts of its stages. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

_HOLDS_UP: Final = 0.6  # of the time its workers are busy: a stage that holds up the others
_WAITS: Final = 0.2  # of the time: a wait that is worth a word
_WORTH: Final = 1.1  # times the items/s, for which workers are worth having
_MOST_MORE: Final = 64  # workers


class StageLoad(NamedTuple):
    """The time of a stage, in seconds, summed over its workers.

    `memory_s` is a part of `blocked_s`. `is_single`: it can have one worker only, as a source. `awaits`: it
    awaits several calls at a time, and uses no core meanwhile. Shares are those of the
    time that its workers were there: their start and the time after their end do not count.
    """

    name: str
    workers: int
    busy_s: float
    starved_s: float = 0.0
    blocked_s: float = 0.0
    memory_s: float = 0.0
    is_single: bool = False
    awaits: bool = False

    @property
    def load_s(self) -> float:
        """The busy seconds of each worker: the run cannot be shorter."""
        return self.busy_s / max(1, self.workers)

    def share(self, seconds: float) -> float:
        """Return which part of the time of its workers so many seconds are."""
        return seconds / max(1e-9, self.busy_s + self.starved_s + self.blocked_s)


def advice(stages: Sequence[StageLoad], cores: float, engine: str = "processes") -> str:
    """Return what holds up a run, and what more workers would bring, with numbers.

    The estimate: the run is as long as the busiest stage is busy per worker, or as all stages are busy per core.

    Parameters
    ----------
    cores : int, or math.inf
        That it may use; infinite: nobody knows, as the stages run on the nodes of a cluster.
    """
    busiest = max(stages, key=lambda stage: stage.load_s, default=None)
    if busiest is None or busiest.busy_s <= 0:
        return "Nothing was worked on, so there is nothing to advise."
    if engine == "serial":
        return _serial(busiest, stages, cores)
    told = [_about_busiest(busiest, stages, cores), _about_memory(stages)]
    return " ".join(filter(None, told))


def _serial(busiest: StageLoad, stages: Sequence[StageLoad], cores: float) -> str:
    total = sum(stage.busy_s for stage in stages)
    times = total / max(busiest.busy_s, total / cores)
    gain = (
        f' With engine="processes" the stages overlap: up to {times:.1f} times the items/s.' if times > _WORTH else ""
    )
    return f"{busiest.name} takes {busiest.busy_s / total:.0%} of the time of all stages.{gain}"


def _about_busiest(busiest: StageLoad, stages: Sequence[StageLoad], cores: float) -> str:
    share = busiest.share(busiest.busy_s)
    if share < _HOLDS_UP:
        return _about_waits(busiest, share, stages)
    busy = f"{busiest.name} holds up the rest: its {_workers(busiest.workers)} busy {share:.0%} of the time"
    if busiest.is_single:
        return f"{busy}, and it can have no more. Make it faster, or move work from it to a stage behind it."
    if busiest.awaits:
        return f"{busy}: a larger concurrency= awaits more of its calls at a time."
    more, times = _more_workers(busiest, stages, cores)
    if times < _WORTH:
        on_cores = _on_cores(stages, cores)
        if on_cores >= 0.8 * busiest.load_s:
            return (
                f"{busy}. The stages keep {cores} cores busy: more workers help only if the function waits, as for a "
                f"disk or a network. Make it faster."
            )
        others = [stage.name for stage in stages if stage is not busiest and stage.load_s * _WORTH > busiest.load_s]
        return f"{busy}. More workers for it alone bring little: {' and '.join(others)} would hold up the rest next."
    there = ", as far as there are cores for them" if math.isinf(cores) else ""
    return f"{busy}; {more} more worker{'s' * (more > 1)} would give {times:.1f} times the items/s{there}."


def _on_cores(stages: Sequence[StageLoad], cores: float) -> float:
    """Return how many seconds all cores together need for what computes."""
    return sum(stage.busy_s for stage in stages if not stage.awaits) / max(1, cores)


def _workers(count: int) -> str:
    return f"{count} workers are" if count > 1 else "one worker is"


def _more_workers(busiest: StageLoad, stages: Sequence[StageLoad], cores: float) -> tuple[int, float]:
    """Return the number of workers behind which more bring nothing, and how many times the items/s they give."""
    others_s = max((stage.load_s for stage in stages if stage is not busiest), default=0.0)
    bound_s = max(others_s, _on_cores(stages, cores))
    best, best_s = 0, busiest.load_s
    for more in range(1, _MOST_MORE + 1):
        needed_s = max(busiest.busy_s / (busiest.workers + more), bound_s)
        if needed_s > 0.97 * best_s:  # the next worker brings less than 3 %
            break
        best, best_s = more, needed_s
    return best, busiest.load_s / best_s


def _about_waits(busiest: StageLoad, share: float, stages: Sequence[StageLoad]) -> str:
    """Say what the workers wait for, where none of them is busy most of the time."""
    blocked = max(stages, key=lambda stage: stage.share(stage.blocked_s - stage.memory_s))
    part = blocked.share(blocked.blocked_s - blocked.memory_s)
    told = f"No stage is busy most of the time: {busiest.name} is busiest, {share:.0%} of the time"
    if part >= _WAITS:
        return (
            f"{told}, and {blocked.name} waits {part:.0%} of its time for what is behind it: the loop that takes the "
            f"items, or the items that are in flight, hold up the run."
        )
    return (
        f"{told}. The rest goes to starting the workers and to waiting; a longer run, or larger items, use it better."
    )


def _about_memory(stages: Sequence[StageLoad]) -> str:
    part, name = max((stage.share(stage.memory_s), stage.name) for stage in stages)
    if part < _WAITS:
        return ""
    return f"{name} waits {min(1.0, part):.0%} of its time for memory: raise memory_limit=, or keep fewer arrays."
