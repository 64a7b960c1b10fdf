"""The size of the next chunk, and the items that are left. Pure: sizes and seconds in, sizes out.

Two sizes are kept apart. A *chunk* is what a worker claims; a *block* is what one call of the function receives.

"auto" aims at chunks of `TARGET_S`: long enough that handing one out does not count, short enough to balance. It begins
with one unit, at most quadruples, and hands out at most half of a worker's fair share of the rest. A chunk that takes
longer than the past suggested is cut afterwards: its worker gives the unfinished rest back.

Source: guided self-scheduling (Polychronopoulos & Kuck 1987) with a time target, as in joblib's batching.
"""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from operator import index
from typing import Any, Final, Literal, SupportsIndex

from pardata.errors import ConfigError
from pardata.memory.sizes import parse_size

TARGET_S: Final = 0.02
GROWTH: Final = 4
CLAIM_S: Final = 150e-6  # to hand out a chunk and hear of it, measured between two processes that sleep
OVERHEAD: Final = 0.02  # the part of a chunk's time that handing it out may cost, if there is enough to do
WORST_OVERHEAD: Final = 0.25  # and if not
GIVE_BACK: Final = 2  # a chunk that takes so many times the target is cut
BUNDLE_S: Final = 1e-3  # chunks of a fixed size travel together up to this time: a message costs as much as 100 us
AHEAD_S: Final = CLAIM_S / 0.04  # chunks shorter than this are handed out one ahead: the wait for the next would count
BLOCK_BYTES: Final = (
    256 << 10
)  # what one call gets of an array: a quarter of the L2 cache, several times a call's overhead

Chunksize = int | str
ChunkKind = Literal["fixed", "auto", "static", "guided", "time", "bytes"]

_TIME: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*")
_SECONDS: Final = {"ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class ChunkPolicy:
    """A chunksize, understood: its kind, and its items, seconds or bytes."""

    kind: ChunkKind
    value: float = 0.0

    @property
    def target_s(self) -> float:
        """The seconds that a chunk should take."""
        return self.value if self.kind == "time" else TARGET_S


def parse_chunksize(chunksize: object) -> ChunkPolicy:
    """Return what `chunksize` means.

    Raises
    ------
    ConfigError
        It is not an int of at least 1, "auto", "static", "guided", a time like "20ms" or a size like "4MB".
    """
    if isinstance(chunksize, SupportsIndex) and not isinstance(chunksize, bool) and index(chunksize) >= 1:
        return ChunkPolicy("fixed", index(chunksize))
    if isinstance(chunksize, str):
        if chunksize in ("auto", "static", "guided"):
            return ChunkPolicy(chunksize)  # type: ignore[arg-type]
        time, nbytes = _TIME.fullmatch(chunksize), parse_size(chunksize)
        if time is not None and float(time[1]) > 0:
            return ChunkPolicy("time", float(time[1]) * _SECONDS[time[2]])
        if nbytes:
            return ChunkPolicy("bytes", nbytes)
    raise ConfigError(
        f'chunksize must be an int of at least 1, "auto", "static", "guided", a time such as "20ms" or a size such as '
        f'"4MB", not {chunksize!r}'
    )


class Chunks:
    """Decides how many items the next chunk gets.

    Parameters
    ----------
    policy : ChunkPolicy
    workers : int
    total : int or None
        None while it is not known.
    unit : int
        Sizes are multiples of it (the last chunk may be shorter).
    item_bytes : float
        Of one item; 0 if it is not known (yet).
    """

    def __init__(
        self, policy: ChunkPolicy, workers: int, total: int | None = None, unit: int = 1, item_bytes: float = 0.0
    ) -> None:
        self.policy = policy
        self.item_s: float | None = None
        self.item_bytes = item_bytes
        self.given_back = 0
        self.workers = workers
        self._total = total
        self._unit = unit
        self._last = 0
        self._sizes: Counter[int] = Counter()

    def size(self, rest: int, is_all: bool = True) -> int:
        """Return the size of the next chunk out of `rest` items; `is_all`: no more will come."""
        size = max(1, min(rest, self._wanted(rest, is_all)))
        if size < rest:
            size = min(rest, max(self._unit, size - size % self._unit))
        self._last = size
        self._sizes[size] += 1
        return size

    def _wanted(self, rest: int, is_all: bool) -> int:
        kind, workers = self.policy.kind, self.workers
        if kind == "fixed":
            return self._bundle(rest, int(self.policy.value))
        if kind == "static":
            return -(-(self._total or rest) // workers)
        if kind == "guided":
            return -(-rest // (2 * workers))
        if kind == "bytes":
            return int(self.policy.value / self.item_bytes) if self.item_bytes else self._unit
        return self._timed(rest, is_all)

    def _bundle(self, rest: int, fixed: int) -> int:
        if self.item_s is None:
            return fixed
        count = min(BUNDLE_S / max(self.item_s, 1e-9), rest / (2 * self.workers), GROWTH * self._last) // fixed
        return fixed * max(1, int(count))

    @property
    def limit_s(self) -> float | None:
        """After how long a worker gives the rest of the chunk of the last size back; None: never."""
        kind = self.policy.kind
        if kind == "fixed":
            return GIVE_BACK * BUNDLE_S if self._last > self.policy.value else None
        return GIVE_BACK * self.policy.target_s if kind in ("auto", "guided", "time") else None

    def _timed(self, rest: int, is_all: bool) -> int:
        if self.item_s is None:
            return self._unit
        item_s = max(self.item_s, 1e-9)
        share = rest / self.workers
        size = max(self.policy.target_s, CLAIM_S / OVERHEAD) / item_s
        size = min(size, share / 2 if is_all else share, GROWTH * self._last)
        return int(max(size, min(CLAIM_S / (WORST_OVERHEAD * item_s), share)))

    def record(self, items: int, seconds: float) -> None:
        """Take in that `items` items took `seconds`; slower than expected counts for more than faster."""
        if items < 1:
            return
        item_s = seconds / items
        if self.item_s is None:
            self.item_s = item_s
        else:
            weight = 0.5 if item_s > self.item_s else 0.25
            self.item_s += weight * (item_s - self.item_s)

    def record_sent(self, items: int, nbytes: int) -> None:
        """Take in that a chunk of `items` items had `nbytes`."""
        self.item_bytes = nbytes / items

    @property
    def goes_ahead(self) -> bool:
        """Return whether a worker should get the next chunk before it has finished the one at hand.

        True for short chunks: the wait for the next one would take long in comparison. A chunk behind a long one cannot
        be taken back.
        """
        return self.is_shorter_than(AHEAD_S)

    def is_shorter_than(self, seconds: float) -> bool:
        """Return whether a chunk of the last size takes less time, as far as is known."""
        return self.item_s is not None and self.item_s * self._last < seconds

    def statistics(self) -> dict[str, Any]:
        """Return how many chunks there were, of which sizes, and how many were cut."""
        sizes = sorted(self._sizes)
        count = self._sizes.total()
        below = accumulate(self._sizes[size] for size in sizes)
        return {
            "policy": self.policy.kind,
            "chunks": count,
            "smallest": min(sizes, default=0),
            "median": next((size for size, n in zip(sizes, below, strict=True) if 2 * n >= count), 0),
            "largest": max(sizes, default=0),
            "given_back": self.given_back,
            "item_s": self.item_s or 0.0,
        }


class Ranges:
    """The items that wait: those that were given back, then the rest of ``range(total)``.

    Attributes
    ----------
    is_complete : bool
        No items will be added to `total`.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.is_complete = True
        self._position = 0
        self._returned: list[tuple[int, int]] = []  # sorted

    @property
    def rest(self) -> int:
        """The number of items that wait."""
        return self.total - self._position + sum(end - begin for begin, end in self._returned)

    @property
    def first(self) -> int:
        """The lowest item that waits; `total` if none does."""
        return self._returned[0][0] if self._returned else self._position

    def take(self, size: int) -> tuple[int, int]:
        """Return the next (begin, end): consecutive items, at most `size` of them."""
        if self._returned:
            begin, end = self._returned.pop(0)
            if end - begin > size:
                insort(self._returned, (begin + size, end))
            return begin, min(end, begin + size)
        begin = self._position
        self._position = min(self.total, begin + size)
        return begin, self._position

    def give_back(self, begin: int, end: int) -> None:
        """Take back unfinished items."""
        if begin < end:
            insort(self._returned, (begin, end))

    def leave_all_but(self, missing: list[tuple[int, int]]) -> None:
        """Hand out these ranges alone: the rest was done before."""
        self._position, self._returned = self.total, list(missing)

    def clear(self) -> None:
        """Hand out no more."""
        self._position = self.total
        self._returned.clear()
