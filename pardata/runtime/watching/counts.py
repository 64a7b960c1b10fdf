"""Counts of runs and pools from the headers of their segment, and the change between two looks. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pardata.memory.budget import CONTROL, LIVE
from pardata.runtime.header import FAILED, INCARNATION, ITEMS, RESTS, times_of
from pardata.runtime.watching.plates import POOL, RUN, WORKER, Plate, read_plate

_WORDS: Final = struct.Struct("64q")

SeenKey = tuple[tuple[int, int], int, int]  # segment, home and begin of a run or a pool

HeaderWords = tuple[int, ...]


@dataclass
class SeenStage:
    """The counts of a stage or of a pool's workers, summed up. Times in ns, with the waits and calls that go on."""

    name: str
    workers: int = 0
    items: int = 0
    failed: int = 0
    busy_ns: int = 0
    starved_ns: int = 0
    blocked_ns: int = 0
    memory_bytes: int = 0
    restarts: int = 0

    def add(self, words: HeaderWords, now_ns: int) -> None:
        """Add a worker's."""
        busy_ns, starved_ns, blocked_ns = times_of(words, now_ns)
        rests = bool(words[RESTS])
        self.workers += not rests
        self.items += words[ITEMS]
        self.failed += words[FAILED]
        self.busy_ns += busy_ns
        if not rests:
            self.starved_ns += starved_ns
            self.blocked_ns += blocked_ns
        self.memory_bytes += words[LIVE]
        self.restarts += max(0, words[INCARNATION] - 1)


@dataclass
class Seen:
    """A run or a pool; `used_bytes`: of the limit, as the workers count it. Its stages in the order of the plan."""

    key: SeenKey
    is_pool: bool
    name: str
    pid: int
    begun_ns: int
    limit_bytes: int
    used_bytes: int
    stages: list[SeenStage] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """The speed of a stage lately: items/s, and which part of its workers' time went where."""

    per_s: float
    busy: float
    starved: float
    blocked: float


def seen_in(key: tuple[int, int], headers: Mapping[int, bytes], now_ns: int) -> list[Seen]:
    """Return the runs and pools of a segment, from the headers of its spans; `now_ns`: when they were read."""
    plates = {at: plate for at, header in headers.items() if (plate := read_plate(header)) is not None}
    words = {at: _WORDS.unpack_from(header) for at, header in headers.items()}
    shared = words.get(0, (0,) * 64)  # the main process's own arrays count in each run, as its limit has them
    found = []
    for home, plate in plates.items():
        if plate.kind not in (RUN, POOL) or plate.home != home:
            continue
        workers = {at: other for at, other in plates.items() if other.kind == WORKER and other.home == home}
        used_bytes = sum(each[LIVE] + each[CONTROL] for each in (words[home], *(words[at] for at in workers)))
        used_bytes += (shared[LIVE] + shared[CONTROL]) * (plate.kind == RUN)
        seen = Seen(
            (key, home, plate.begun_ns), plate.kind == POOL, plate.name, plate.pid, plate.begun_ns, plate.limit_bytes,
            used_bytes,
        )  # fmt: skip
        seen.stages = _stages(plate, workers, words, now_ns)
        found.append(seen)
    return sorted(found, key=lambda each: each.begun_ns)


def _stages(home: Plate, workers: dict[int, Plate], words: dict[int, HeaderWords], now_ns: int) -> list[SeenStage]:
    stages: dict[int, SeenStage] = {}
    for at, plate in sorted(workers.items(), key=lambda item: item[1].place):
        name = home.name if home.kind == POOL else plate.name
        stages.setdefault(plate.place, SeenStage(name)).add(words[at], now_ns)
    return list(stages.values())


def pace(now: SeenStage, before: SeenStage | None, seconds: float) -> Pace:
    """Return how fast a stage was in the seconds since it was seen `before`; None: since the run began."""
    old = before or SeenStage(now.name)
    times = [
        max(0, new - then)
        for new, then in (
            (now.busy_ns, old.busy_ns),
            (now.starved_ns, old.starved_ns),
            (now.blocked_ns, old.blocked_ns),
        )
    ]
    whole = max(1, sum(times))
    busy, starved, blocked = (part / whole for part in times)
    return Pace(max(0, now.items - old.items) / max(seconds, 1e-9), busy, starved, blocked)
