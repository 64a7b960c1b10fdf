"""The number of batches of a source that may be in flight: a few, and more of them where they are small. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The bytes that a wide window may hold. Large arrays are to be recycled while they are warm: a chain that copies arrays
# of 8 MB is slower with more than a few in flight, and so is one with arrays of 80 KB.
WIDE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Window:
    """Allows `fewest` batches of any size, and up to `most` while all of them together are small.

    It opens with the batches that come out: until then it is not known how large items become on their way.
    """

    fewest: int
    most: int

    def allows(self, in_flight: int, retired: int, largest_bytes: int) -> bool:
        """Return whether one more batch may be sent; `largest_bytes`: of the batches that were sent so far."""
        if in_flight < self.fewest:
            return True
        return in_flight < min(self.most, self.fewest * (1 + retired)) and (in_flight + 1) * largest_bytes <= WIDE_BYTES
