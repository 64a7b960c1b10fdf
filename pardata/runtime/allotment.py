"""The workers of stages with workers="auto": by the counts of a run they are moved to where they shorten it. Pure.

      counts of each stage --> seconds of work per item of the sources --> shares of the cores --> a change, or none

A run is as long as its busiest stage: work per item divided by workers. So a worker goes to the stage where that is
most, one after the other, until no core is left or a stage that cannot have more holds up the rest. What the run has is
changed to that if it gains enough.

Source: water filling of a bottleneck; hysteresis that grows with each change, as the back-off of networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

LOOK_S: Final = 0.1  # between two looks
_WINDOW_S: Final = 1.0  # costs are those of so many seconds, and of so many items at least
_WINDOW_ITEMS: Final = 64
_MOST_WINDOW_S: Final = 10.0
_PAUSE_S: Final = 0.3  # after a change, until its effect shows
_GAIN: Final = 0.05  # times the items/s that the first change must bring; twice as much after each one
_MOST_GAIN: Final = 0.4  # that is asked for
_FORGET_S: Final = 10.0  # until one change less counts
_BUSY: Final = 0.6  # of its time: a stage that is held up by memory, by a source or by the caller needs no workers
_ENOUGH: Final = 0.9  # of the load of a stage that cannot have more


class StageShape(NamedTuple):
    """A stage: the stages that it reads by their positions, and how many workers it may have.

    `fewest` and `most` are equal where the user has said how many. `counts`: whether its workers count as cores.
    `is_joined`: it takes one item of each input together, in place of all items. `is_exact`: each item of a stage that
    it reads comes to it, but for dropped ones.
    """

    inputs: tuple[int, ...]
    fewest: int = 1
    most: int = 1
    counts: bool = True
    is_joined: bool = False
    is_exact: bool = True


class StageCounts(NamedTuple):
    """Of a stage since the run has begun: items taken in, those of them that were not handed on, and seconds.

    `busy_s` and `waited_s` are sums over its workers, calls and waits that go on included, without those that rest.
    """

    items: int = 0
    dropped: int = 0
    busy_s: float = 0.0
    waited_s: float = 0.0


class _Look(NamedTuple):
    at_s: float
    counts: Sequence[StageCounts]


class Allotment:
    """The numbers of workers of all stages.

    Attributes
    ----------
    workers : list of int
        Of each stage, now.
    changes : int
        How often they were changed.
    changed_s : float
        When they were changed last; seconds since the begin.
    """

    def __init__(self, shapes: Sequence[StageShape], cores: int) -> None:
        self.workers = [shape.fewest for shape in shapes]
        self.changes = 0
        self.changed_s = 0.0
        self._shapes = shapes
        self._cores = cores
        self._looks: deque[_Look] = deque([_Look(0.0, [StageCounts()] * len(shapes))])
        self._memory = 0.0  # of changes
        self._begun_s = float("inf")  # when the first item was at work

    def look(self, at_s: float, counts: Sequence[StageCounts]) -> bool:
        """Take in the counts at `at_s` seconds; return whether `workers` has changed."""
        self._memory = max(0.0, self._memory - (at_s - self._looks[-1].at_s) / _FORGET_S)
        self._looks.append(_Look(at_s, counts))
        while at_s - self._looks[1].at_s > _MOST_WINDOW_S:
            self._looks.popleft()
        if not self._is_known(at_s, counts) or (self.changes and at_s < self.changed_s + _PAUSE_S):
            return False
        wanted = self._wanted(self._demands())
        if wanted is None:
            return False
        self.workers = wanted
        self.changes += 1
        self.changed_s = at_s
        self._memory += 1
        return True

    def _is_known(self, at_s: float, counts: Sequence[StageCounts]) -> bool:
        """Return whether all stages have had an item, or have had `_WINDOW_S` for it: the last ones have it later."""
        if any(count.busy_s for count, shape in zip(counts, self._shapes, strict=True) if shape.inputs):
            self._begun_s = min(self._begun_s, at_s)
        return at_s - self._begun_s >= _WINDOW_S or all(count.items for count in counts)

    def _wanted(self, demands: list[float]) -> list[int] | None:
        """Return the workers that bring enough to be worth a change; None: those of now."""
        now_s, busiest = max(
            (demand / workers, at) for at, (demand, workers) in enumerate(zip(demands, self.workers, strict=True))
        )
        if not now_s or self._busy_share(busiest) < _BUSY:
            return None
        wanted = self._filled(demands)
        then_s = max(demand / workers for demand, workers in zip(demands, wanted, strict=True))
        if now_s < then_s * (1 + min(_MOST_GAIN, _GAIN * 2**self._memory)):
            return None
        return wanted

    def _filled(self, demands: list[float]) -> list[int]:
        """Return the workers with which the busiest stage has least to do: one after the other, where most is to do."""
        shapes = self._shapes
        workers = [shape.fewest for shape in shapes]
        left = self._cores - sum(count for count, shape in zip(workers, shapes, strict=True) if shape.counts)
        for _ in range(left):
            loads = [(demand / count, at) for at, (demand, count) in enumerate(zip(demands, workers, strict=True))]
            bound_s, _ = max((load for load in loads if workers[load[1]] == shapes[load[1]].most), default=(0.0, 0))
            load_s, at = max((load for load in loads if workers[load[1]] < shapes[load[1]].most), default=(0.0, 0))
            if load_s <= _ENOUGH * bound_s:
                break
            workers[at] += 1
        return workers

    # -- what was seen ---------------------------------------------------------------------------------------------

    def _demands(self) -> list[float]:
        """Return the seconds of work in each stage per item that enters."""
        flows = self._flows()
        found = []
        for at, flow in enumerate(flows):
            since = self._since(at)
            busy_s = self._looks[-1].counts[at].busy_s - since.counts[at].busy_s
            items = self._looks[-1].counts[at].items - since.counts[at].items
            found.append(flow * busy_s / max(1, items))
        return found

    def _since(self, at: int) -> _Look:
        """Return the look behind which the counts of a stage say what its items cost: as late as can be."""
        newest = self._looks[-1]
        for look in reversed(self._looks):
            if (
                newest.at_s - look.at_s >= _WINDOW_S
                and newest.counts[at].items - look.counts[at].items >= _WINDOW_ITEMS
            ):
                return look
        return self._looks[0]

    def _flows(self) -> list[float]:
        """Return how many items come to each stage per item that enters, whether it has taken them yet or not."""
        newest = self._looks[-1].counts
        sources = [at for at, shape in enumerate(self._shapes) if not shape.inputs]
        entered = {at: newest[at].items - self._since(at).counts[at].items for at in sources}
        if not any(entered.values()):
            entered = dict.fromkeys(sources, 1)  # a stage gives now what it has taken before
        total = sum(entered.values())
        flows: list[float] = []
        for at, shape in enumerate(self._shapes):
            given = [flows[read] * self._passing(read, at) for read in shape.inputs]
            flows.append((max(given) if shape.is_joined else sum(given)) if given else entered[at] / total)
        return flows

    def _passing(self, read: int, at: int) -> float:
        """Return how many items come to stage `at` per item that the stage `read` takes in."""
        newest, before = self._looks[-1].counts, self._since(read).counts
        items = max(1, newest[read].items - before[read].items)
        if self._shapes[at].is_exact:
            return 1.0 - (newest[read].dropped - before[read].dropped) / items
        return (newest[at].items - before[at].items) / items

    def _busy_share(self, at: int) -> float:
        newest = self._looks[-1]
        since = next((look for look in reversed(self._looks) if newest.at_s - look.at_s >= _PAUSE_S), self._looks[0])
        busy_s = newest.counts[at].busy_s - since.counts[at].busy_s
        waited_s = newest.counts[at].waited_s - since.counts[at].waited_s
        return busy_s / max(1e-9, busy_s + waited_s)
