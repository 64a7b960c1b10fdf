"""Eight loads that chunk rules find hard, and a simulation of workers that are handed chunks of them.

Seconds per item. Source of the loads: what the users of worker pools report (research on pools, 2.3).
"""

import heapq
from itertools import count

import numpy as np

from pardata.pool.jobs.chunking import Chunks, Ranges, parse_chunksize

SERIAL_S = 20e-6  # the parent's time per chunk
LATENCY_S = 60e-6  # until a worker has it, beside that


def _lognormal(random):
    return random.lognormal(np.log(0.4e-3), 1.5, 50_000)


def _clustered(random):
    items = np.full(20_000, 1e-4)
    items[9_000:9_400] *= 200
    return items


LOADS = {
    "A short": lambda random: np.full(200_000, 10e-6),
    "B long": lambda random: np.full(5_000, 5e-3),
    "C lognormal": _lognormal,
    "D rising": lambda random: np.linspace(0, 2e-3, 20_000),
    "E falling": lambda random: np.linspace(2e-3, 0, 20_000),
    "F fast then slow": lambda random: np.r_[np.full(90_000, 2e-6), np.full(10_000, 1e-3)],
    "G hot cluster": _clustered,
    "H a slow core": lambda random: np.full(5_000, 5e-3),
}


def load(name):
    return LOADS[name](np.random.default_rng(0))


def speeds(name, workers):
    """Return the speed of each worker: of H, one core does half."""
    return np.r_[0.5, np.ones(workers - 1)] if name.startswith("H") else np.ones(workers)


class Simulation:
    """`workers` that are handed chunks by one parent, one after the other; give-back as `pool.worker.tasks` does it."""

    def __init__(self, items, workers, chunksize, speed):
        self.starts = np.r_[0.0, np.cumsum(items)]
        self.speed = speed
        self.ranges = Ranges(len(items))
        self.chunks = Chunks(parse_chunksize(chunksize), workers, len(items))
        self.free_s = 0.0  # when the parent has time
        self.done = np.zeros(len(items), int)
        self.handed_out = 0
        self.order = count()

    def makespan(self):
        ready = [(0.0, worker) for worker in range(len(self.speed))]
        running = []  # (end, order, worker, chunk, begin_s)
        idle = []
        now = 0.0
        while ready or running:
            if ready and (not running or ready[0][0] <= running[0][0]):
                now, worker = heapq.heappop(ready)
                if self.ranges.rest:
                    heapq.heappush(running, self.hand_out(now, worker))
                else:
                    idle.append(worker)
                    running = [self.hurry(entry, now) for entry in running]
                    heapq.heapify(running)
                continue
            now, _, worker, (begin, end, until), begin_s = heapq.heappop(running)
            self.done[begin:end] += 1
            self.chunks.record(end - begin, now - begin_s)
            self.ranges.give_back(end, until)
            for other in [worker, *idle]:
                heapq.heappush(ready, (now, other))
            idle = []
        assert (self.done == 1).all()
        return now

    def hand_out(self, now, worker):
        begin, until = self.ranges.take(self.chunks.size(self.ranges.rest))
        self.handed_out += 1
        self.free_s = max(now, self.free_s) + SERIAL_S
        begin_s = self.free_s + LATENCY_S
        end, limit_s = until, self.chunks.limit_s
        if limit_s is not None:
            end = self.upto(begin, until, worker, limit_s)
        return begin_s + self.seconds(begin, end, worker), next(self.order), worker, (begin, end, until), begin_s

    def hurry(self, entry, now):
        """Somebody is idle: the rest of the chunk is given back after the item at hand, if it is worth a message."""
        _, order, worker, (begin, end, until), begin_s = entry
        if self.chunks.limit_s is None:
            return entry
        upto = min(end, self.upto(begin, until, worker, max(0.0, now - begin_s)))
        if self.seconds(upto, until, worker) < 300e-6:
            return entry
        return begin_s + self.seconds(begin, upto, worker), order, worker, (begin, upto, until), begin_s

    def seconds(self, begin, end, worker):
        return (self.starts[end] - self.starts[begin]) / self.speed[worker]

    def upto(self, begin, until, worker, seconds):
        """The first item that has not begun after so many seconds."""
        at = np.searchsorted(self.starts, self.starts[begin] + seconds * self.speed[worker], side="left")
        return int(min(until, max(begin + 1, at)))


def efficiency(name, workers, chunksize):
    """The least time possible by the time it takes."""
    items, speed = load(name), speeds(name, workers)
    ideal = max(items.sum() / speed.sum(), items.max())
    return ideal / Simulation(items, workers, chunksize, speed).makespan()
