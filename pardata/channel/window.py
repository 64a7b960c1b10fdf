"""How many batches of a source may be in flight: a few, and more of them where they are small. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# What a wide window may hold. Large arrays are to be recycled while they are warm: with more than a few of 8 MB in
# flight a chain that copies them is slower, and so is one of 80 KB.
WIDE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Window:
    """`fewest` whatever they hold, and up to `most` while all of them together are small.

    It opens with the batches that come out: until then nobody knows how large items are on their way.
    """

    fewest: int
    most: int

    def allows(self, in_flight: int, retired: int, largest_bytes: int) -> bool:
        """Whether one more batch may set out; `largest_bytes`: of the batches that were sent so far."""
        if in_flight < self.fewest:
            return True
        return in_flight < min(self.most, self.fewest * (1 + retired)) and (in_flight + 1) * largest_bytes <= WIDE_BYTES
