"""No memory for a block: wait for others to let go of theirs, pass the limit for a moment, or fail. Pure.

Who waits holds what it has, so waiting alone can stand still: the batch that everybody waits for may be one of those
that have no memory. Therefore the oldest batch in flight never waits for younger ones, and when everybody waits for
somebody else, one goes on. Both may pass the limit, by as much again as the limit: that happens while it is not known
what the items need on their way, since a source that knows it sends no more than fits. A batch that is alone on its way
has nobody to wait for but the consumer's loop. If that waits too, it still has the item that it is at, since a loop
lets go of one when it gets the next: so the batch may pass the limit by one item. What is above that is kept, and there
will never be enough. A batch of several items is not failed where one of them would fit: small items may become large
behind a source that had reason to send many at a time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from pardata.memory.budget import format_bytes

# Nobody is told when memory becomes free elsewhere: who waits for it looks again this often.
TICK_S: Final = 0.002
# A process that has been woken and has not run yet looks as if it waited (who fails asks the system as well, see
# `runtime.admission.quiescence`). To go on too early only costs memory.
STUCK_S: Final = 0.05
# To fail too early costs the run.
HOPELESS_S: Final = 1.0


class Decision(enum.Enum):
    """What to do about a block."""

    WAIT = enum.auto()
    TAKE = enum.auto()  # it fits
    PASS_LIMIT = enum.auto()
    FAIL = enum.auto()


@dataclass(frozen=True)
class AllocationRequest:
    """A block that is needed, and how things stand.

    Attributes
    ----------
    is_oldest, is_alone : bool
        Whether it is for the oldest batch in flight; whether no other batch is.
    still_s : float
        For how long everybody has been waiting, and nothing has changed.
    items : int
        How many the batch has.
    own_bytes : int
        Of the blocks that it came with, and that were made for it.
    control_bytes : int
        Of what is live, that of tables and channels: it stays until the end.
    item_bytes : int
        Of the blocks of the largest batch so far.
    """

    needed_bytes: int
    live_bytes: int
    limit_bytes: int
    is_oldest: bool
    is_alone: bool
    still_s: float
    items: int = 1
    own_bytes: int = 0
    control_bytes: int = 0
    item_bytes: int = 0

    @property
    def _most_bytes(self) -> int:
        """What all arrays together may have."""
        return self.limit_bytes - self.control_bytes

    @property
    def _fits_at_once(self) -> bool:
        return self.needed_bytes + self.own_bytes <= self._most_bytes

    def decide(self) -> Decision:
        """Return what to do."""
        wanted = self.live_bytes + self.needed_bytes
        if self.needed_bytes > self._most_bytes:
            return Decision.FAIL
        if wanted <= self.limit_bytes:
            return Decision.TAKE
        fits_one = self.items > 1 and wanted - self.own_bytes <= self.limit_bytes
        if self.is_alone:  # the loop that waits for it has the item before
            fits_beside = self._fits_at_once and wanted <= self.limit_bytes + self.item_bytes
            may_pass = fits_one or (fits_beside and self.still_s >= STUCK_S)
        else:
            may_pass = fits_one or wanted <= 2 * self.limit_bytes
        if may_pass and (self.is_oldest or self.still_s >= STUCK_S):
            return Decision.PASS_LIMIT
        return Decision.FAIL if self.still_s >= HOPELESS_S else Decision.WAIT

    def explain(self, who: str, holders: str) -> str:
        """Return why there will never be enough memory."""
        needed, limit = format_bytes(self.needed_bytes), format_bytes(self.limit_bytes)
        if self.needed_bytes > self._most_bytes:
            control = format_bytes(self.control_bytes)
            without = f" without the {control} of tables and channels" if self.control_bytes else ""
            return (
                f"{who} needs {needed} of shared memory for one array, more than the limit of {limit}{without}: "
                f"raise memory_limit="
            )
        told = (
            f"{who} needs {needed} of shared memory, but {format_bytes(self.live_bytes)} of the limit of {limit} are "
            f"in use ({holders}). "
        )
        if not self._fits_at_once:
            return (
                f"{told}What it works on and what it makes do not fit at once: raise memory_limit=, or have it "
                f"take one item at a time with chunksize=1"
            )
        return (
            f"{told}Nobody is at work who could give memory back. Arrays that are kept by their consumer stay in "
            f"memory, also the item that a loop is at, until it has the next one: copy what you keep, keep fewer, or "
            f"raise memory_limit="
        )
