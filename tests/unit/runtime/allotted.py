"""Plans that are hard to share cores among, and a simulation of their workers.

As in a run, a worker of a farm has two messages at the most, a stage waits while all workers behind it have, and a
source while it has no token. A join takes one item of each input, in order.

`python -m tests.unit.runtime.allotted` searches the best fixed workers of each plan, for `BEST_S`.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pardata.runtime.allotment import LOOK_S, Allotment, StageCounts, StageShape

AHEAD = 2
START_S = 0.02  # until a new process takes its first item
SECONDS = 20  # of work for all cores


class Step(NamedTuple):
    """A stage of a plan: its inputs, and the seconds of each item. `auto`: it may have several workers."""

    inputs: tuple[int, ...]
    cost: np.ndarray
    auto: bool = True
    is_joined: bool = False
    keeps: np.ndarray | None = None


class Case(NamedTuple):
    """A plan: its stages, how many items there are, and how many may be in flight; `computes`: on cores."""

    steps: list[Step]
    items: int
    tokens: int | None = None


def _random():
    return np.random.default_rng(0)


def _chain(items, *costs):
    """A source that takes no time, and a chain behind it."""
    given = [Step((), np.full(items, 1e-6), auto=False)]
    for at, cost in enumerate(costs):
        given.append(Step((at,), np.broadcast_to(np.asarray(cost, float), items)))
    return given


def _of(cores, each_s, steps, **more):
    """A case in which all cores have work for about `SECONDS`: `steps` makes the stages for a number of items."""
    longer = max(1, cores // 16)  # fewer items, for the time of the tests
    items = int(SECONDS * cores / each_s / longer)
    return Case([step._replace(cost=step.cost * longer) for step in steps(items)], items, **more)


def _diamond(items):
    source, first = _chain(items, 0.02)
    left, right = Step((1,), np.full(items, 0.09)), Step((1,), np.full(items, 0.05))
    joined = Step((2, 3), np.full(items, 1e-6), auto=False, is_joined=True)
    return [source, first, left, right, joined, Step((4,), np.full(items, 0.04))]


def _filtered(items):
    source, first, second = _chain(items, 0.03, 0.2)
    keeps = _random().random(items) < 0.25
    return [source, first._replace(keeps=keeps), second]


def _changing(items):
    late = np.arange(items) > items // 2
    return _chain(items, np.where(late, 0.03, 0.15), np.where(late, 0.15, 0.03), 0.02)


def _bursts(items):
    is_burst = np.arange(items) // max(1, items // 6) % 2 == 1
    return _chain(items, 0.04, np.where(is_burst, 0.22, 0.1), 0.04)


def _heavy_tailed(items):
    costs = _random().lognormal(np.log(0.06), 1.2, (2, items))
    return _chain(items, 0.03, costs[0], costs[1] / 2)


def _serial(items):
    return [*_chain(items, 0.1), Step((1,), np.full(items, 0.2), auto=False), Step((2,), np.full(items, 0.3))]


CASES = {
    "chain": lambda cores: _of(cores, 0.2, lambda n: _chain(n, 0.02, 0.12, 0.06)),
    "farm": lambda cores: _of(cores, 0.15, lambda n: _chain(n, 0.15)),
    "diamond": lambda cores: _of(cores, 0.2, _diamond),
    "filter": lambda cores: _of(cores, 0.08, _filtered),
    "slow tail": lambda cores: _of(cores, 0.21, lambda n: _chain(n, 0.005, 0.005, 0.2)),
    "changing load": lambda cores: _of(cores, 0.2, _changing),
    "bursts": lambda cores: _of(cores, 0.24, _bursts),
    "waiting for disks": lambda cores: _of(cores, 0.31, lambda n: _chain(n, 0.25, 0.01, 0.05)),
    "heavy-tailed": lambda cores: _of(cores, 0.21, _heavy_tailed),
    "serial bottleneck": lambda cores: _of(cores, 0.2 * cores, _serial),
    "memory": lambda cores: _of(cores, 0.4, lambda n: _chain(n, 0.05, 0.1, 0.05), tokens=cores // 2),
}


@dataclass(eq=False)
class _Worker:
    stage: "_Stage"
    queue: deque = field(default_factory=deque)
    at_work: int | None = None
    since_s: float = 0.0
    done: int | None = None  # its result waits for room behind
    free_s: float = 0.0


@dataclass(eq=False)
class _Stage:
    index: int
    step: Step
    workers: list = field(default_factory=list)
    in_use: int = 1
    behind: list = field(default_factory=list)
    held_up: deque = field(default_factory=deque)  # workers before it that wait for room
    arrived: dict = field(default_factory=dict)
    items: int = 0
    dropped: int = 0
    busy_s: float = 0.0
    waited_s: float = 0.0
    next: int = 0

    def pick(self):
        """Return the worker that gets the next message; None if all are busy."""
        if not self.step.auto:
            return self.workers[0]
        best = min(self.workers[: self.in_use], key=_load)
        return best if _load(best) < AHEAD else None


def _load(worker):
    return len(worker.queue) + (worker.at_work is not None or worker.done is not None)


class Simulation:
    """A run of `case`. `makespan(workers)`: with fixed workers; `tuned(cores)`: with those of an `Allotment`."""

    def __init__(self, case, cores):
        self.case, self.cores = case, cores
        self.stages = [_Stage(at, step) for at, step in enumerate(case.steps)]
        for stage in self.stages:
            for read in stage.step.inputs:
                self.stages[read].behind.append(stage)
        self.autos = [stage for stage in self.stages if stage.step.auto]
        others = sum(1 for stage in self.stages if not stage.step.auto and stage.step.inputs)
        self.most = cores - others - len(self.autos) + 1
        self.tokens = case.tokens or 2 * cores + 2 * len(self.stages)
        self.ends = [stage for stage in self.stages if not stage.behind]
        self.events, self.order, self.now, self.sent, self.out = [], 0, 0.0, 0, 0
        self.log = []

    def shapes(self):
        return [
            StageShape(
                stage.step.inputs, 1, self.most if stage.step.auto else 1, bool(stage.step.inputs), stage.step.is_joined
            )
            for stage in self.stages
        ]

    def makespan(self, workers):
        """Return the seconds of the run with so many workers per stage that may have several."""
        self._begin(dict(zip(self.autos, workers, strict=True)))
        self._run(None)
        return self.now

    def tuned(self):
        """Return the seconds of the run whose workers an `Allotment` sets."""
        allotment = Allotment(self.shapes(), self.cores)
        self._begin({})
        self._run(allotment)
        return self.now

    def _begin(self, workers):
        for stage in self.stages:
            count = self.most if stage.step.auto else 1
            stage.workers = [_Worker(stage) for _ in range(count)]
            stage.in_use = workers.get(stage, 1)
        self._send()

    def _run(self, allotment):
        due_s = LOOK_S if allotment is not None else float("inf")
        while self.events:
            if self.events[0][0] >= due_s:
                self.now = due_s
                self._look(allotment)
                due_s += LOOK_S
                continue
            self.now, _, worker = heapq.heappop(self.events)
            self._finish(worker)
        assert self.out == self.case.items, "the simulation stands still"

    def _look(self, allotment):
        counts = [self._counts(stage) for stage in self.stages]
        if self.sent < self.case.items and allotment.look(self.now, counts):
            assert (
                sum(count for count, shape in zip(allotment.workers, self.shapes(), strict=True) if shape.counts)
                <= self.cores
            )
            self.log.append((self.now, [allotment.workers[stage.index] for stage in self.autos]))
            for stage, count in zip(self.stages, allotment.workers, strict=True):
                for worker in stage.workers[stage.in_use : count]:
                    worker.free_s = self.now + START_S
                    worker.since_s = self.now
                stage.in_use = count
            for stage in self.stages:
                self._let_in(stage)
            self._send()

    def _counts(self, stage):
        busy_s, waited_s = stage.busy_s, stage.waited_s
        for at, worker in enumerate(stage.workers):
            if worker.at_work is not None:
                busy_s += max(0.0, self.now - worker.since_s)
            elif at < stage.in_use:
                waited_s += self.now - worker.since_s
        return StageCounts(stage.items, stage.dropped, busy_s, waited_s)

    # -- items -----------------------------------------------------------------------------------------------------

    def _send(self):
        source = self.stages[0]
        while self.sent < self.case.items and self.sent - self.out < self.tokens:
            if any(stage.pick() is None for stage in source.behind):
                return
            number, self.sent = self.sent, self.sent + 1
            source.items += 1
            self._hand_on(source, number)

    def _hand_on(self, stage, number):
        for reader in stage.behind:
            if reader.step.is_joined:
                reader.arrived[number] = reader.arrived.get(number, 0) + 1
                while reader.arrived.get(reader.next) == len(reader.step.inputs):
                    del reader.arrived[reader.next]
                    self._give(reader.workers[0], reader.next)
                    reader.next += 1
            elif not reader.step.auto:  # a single worker takes them in order
                reader.arrived[number] = 1
                while reader.arrived.pop(reader.next, 0):
                    self._give(reader.workers[0], reader.next)
                    reader.next += 1
            else:
                self._give(reader.pick(), number)
        if not stage.behind:
            self.out += 1

    def _give(self, worker, number):
        worker.queue.append(number)
        self._start(worker)

    def _start(self, worker):
        if worker.at_work is None and worker.done is None and worker.queue:
            number = worker.at_work = worker.queue.popleft()
            begin_s = max(self.now, worker.free_s)
            worker.stage.waited_s += begin_s - worker.since_s
            worker.since_s = begin_s
            step = worker.stage.step
            is_dropped = worker.stage.index > 1 and any(
                self.stages[read].step.keeps is not None and not self.stages[read].step.keeps[number]
                for read in step.inputs
            )  # its message is empty
            self.order += 1
            end_s = begin_s + (0.0 if is_dropped else step.cost[number])
            heapq.heappush(self.events, (end_s, self.order, worker))

    def _finish(self, worker):
        stage, number = worker.stage, worker.at_work
        keeps = stage.step.keeps
        before = [self.stages[read].step.keeps for read in stage.step.inputs]
        stage.items += not any(each is not None and not each[number] for each in before)
        stage.dropped += keeps is not None and not keeps[number]
        stage.busy_s += self.now - worker.since_s
        worker.since_s = self.now
        worker.at_work, worker.done = None, number
        self._try_publish(worker)

    def _try_publish(self, worker):
        stage = worker.stage
        full = next((reader for reader in stage.behind if reader.pick() is None), None)
        if full is not None:
            full.held_up.append(worker)
            return
        number, worker.done = worker.done, None
        self._hand_on(stage, number)
        self._start(worker)
        self._let_in(stage)
        self._send()

    def _let_in(self, stage):
        while stage.held_up and stage.pick() is not None:
            self._try_publish(stage.held_up.popleft())


def best_fixed(name, cores):
    """Return the best fixed workers and their seconds: found by moving one worker at a time, from several starts."""
    case = CASES[name](cores)
    autos = [at for at, step in enumerate(case.steps) if step.auto]
    work = np.array([case.steps[at].cost.mean() for at in autos])
    simulation = Simulation(case, cores)
    spare = simulation.most - 1 + len(autos)
    known = {}

    def seconds(workers):
        if workers not in known:
            known[workers] = Simulation(case, cores).makespan(workers)
        return known[workers]

    share = np.maximum(1, np.floor(work / work.sum() * spare)).astype(int)
    while share.sum() > spare:
        share[share.argmax()] -= 1
    best = tuple(share.tolist())
    while True:
        around = [best]
        for to in range(len(best)):
            more = [count + (at == to) for at, count in enumerate(best)]
            around += [tuple(count - (at == of) for at, count in enumerate(more)) for of in range(len(best))] + [
                tuple(more)
            ]
        around = [each for each in around if min(each) >= 1 and sum(each) <= spare]
        found = min(around, key=seconds)
        if seconds(found) >= seconds(best):
            return best, seconds(best)
        best = found


if __name__ == "__main__":
    for cores in (8, 32):
        print(f"    {cores}: {{")
        for name in CASES:
            workers, seconds = best_fixed(name, cores)
            print(f'        "{name}": {seconds:.2f},  # {", ".join(map(str, workers))}')
        print("    },")
