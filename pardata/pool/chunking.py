"""How large the next chunk is. Pure: sizes and seconds in, sizes out.

"auto" aims at chunks of `TARGET_S`: long enough that handing one out does not count, short enough to balance. It begins
with one unit, at most quadruples, and hands out at most half of a worker's fair share of what is left, so that nobody
sits on the last long chunk.

Source: guided self-scheduling (Polychronopoulos & Kuck 1987) with a time target, as in joblib's batching.
"""

from __future__ import annotations

from typing import Final, Literal

from pardata.errors import ConfigError

TARGET_S: Final = 0.02
GROWTH: Final = 4
BLOCK_BYTES: Final = (
    256 << 10
)  # what one call gets of an array: a quarter of the L2 cache, several times a call's overhead

Chunksize = int | Literal["auto"]


def check_chunksize(chunksize: object) -> Chunksize:
    """Return `chunksize` if it is "auto" or an int of at least 1; raise `ConfigError` otherwise."""
    if isinstance(chunksize, str) and chunksize == "auto":
        return "auto"
    if isinstance(chunksize, int) and not isinstance(chunksize, bool) and chunksize >= 1:
        return chunksize
    raise ConfigError(f'chunksize must be "auto" or an int of at least 1, not {chunksize!r}')


class Chunks:
    """Cuts ``range(total)`` into consecutive chunks.

    Parameters
    ----------
    total : int
    workers : int
    chunksize : int or "auto"
    unit : int
        "auto" hands out multiples of it (the last chunk may be shorter).
    """

    def __init__(self, total: int, workers: int, chunksize: Chunksize, unit: int = 1) -> None:
        self.total = total
        self.position = 0
        self._workers = workers
        self._fixed = None if chunksize == "auto" else chunksize
        self._unit = unit
        self._last = 0
        self._item_s: float | None = None

    def next(self) -> tuple[int, int] | None:
        """Return the next (begin, end); None at the end."""
        rest = self.total - self.position
        if rest <= 0:
            return None
        size = min(rest, self._fixed or self._automatic(rest))
        begin = self.position
        self.position += size
        self._last = size
        return begin, self.position

    def _automatic(self, rest: int) -> int:
        if self._item_s is None:
            return self._unit
        wanted = TARGET_S / max(self._item_s, 1e-9)
        share = rest / (2 * self._workers)
        size = int(min(wanted, share, GROWTH * self._last))
        return max(self._unit, size - size % self._unit)

    def record(self, size: int, seconds: float) -> None:
        """Take in that `size` items took `seconds`; slower than expected counts for more than faster."""
        item_s = seconds / size
        if self._item_s is None:
            self._item_s = item_s
        else:
            weight = 0.5 if item_s > self._item_s else 0.25
            self._item_s += weight * (item_s - self._item_s)


def block_rows(rows: int, nbytes: int) -> int:
    """Return how many rows of an array of `rows` rows and `nbytes` bytes one call gets: about `BLOCK_BYTES`."""
    return max(1, min(rows, BLOCK_BYTES * rows // max(1, nbytes)))
