"""Rules for a worker that needs a block: it gets the memory now, waits for it, passes the limit, or fails. Pure.

A waiting worker keeps what it has, so waiting alone could stand still: all may wait for a batch that is one of those
without memory. Therefore one batch may always go on past the limit. That is the oldest one in flight, at once, or any
other one when nothing has moved for a moment (behind farms without order, older batches can be held up in more ways
than a rule of age would find). It is rare: a source that knows what its items need on all their way sends no more than
fits (`runtime.worker.token_gate`).

`RULES` is the whole decision. The first rule whose conditions all hold decides.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

# No process is told when memory becomes free in a third one: a worker that waits for it looks again this often. To tell
# it would cost a system call for each release in each process; so it costs only those that wait.
TICK_S: Final = 0.002
# A process that has been woken and has not run yet looks as if it waited (before a failure the system is asked as well,
# see `runtime.admission.quiescence`). To go on too early only costs memory.
STUCK_S: Final = 0.05
# To fail too early costs the run.
HOPELESS_S: Final = 1.0


class Decision(enum.Enum):
    """The answer to a request."""

    WAIT = enum.auto()
    TAKE = enum.auto()
    PASS_LIMIT = enum.auto()
    FAIL = enum.auto()


@dataclass(frozen=True)
class AllocationRequest:
    """A block that is needed, and how things stand.

    Attributes
    ----------
    needed_bytes, live_bytes, limit_bytes : int
        Of the block; of all blocks, tables and channels in use; of the run.
    is_oldest : bool
        The block is for the oldest batch in flight of a source, or for what holds that batch up.
    is_alone : bool
        No other batch is in flight: only the consumer's loop could still let go of something.
    still_s : float
        Seconds for which all workers have been waiting, and nothing has changed.
    items : int
        How many items the batch has.
    own_bytes : int
        Of the blocks that the batch came with, and that were made for it.
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
    def most_bytes(self) -> int:
        """Bytes that all arrays together may have."""
        return self.limit_bytes - self.control_bytes

    @property
    def wanted_bytes(self) -> int:
        """Bytes that would be live with the block."""
        return self.live_bytes + self.needed_bytes


# -- conditions --------------------------------------------------------------------------------------------------------


def fits_never(request: AllocationRequest) -> bool:
    """Return whether the block is larger than all that arrays may have."""
    return request.needed_bytes > request.most_bytes


def fits_now(request: AllocationRequest) -> bool:
    """Return whether the block fits beside all that is live."""
    return request.wanted_bytes <= request.limit_bytes


def fits_by_itself(request: AllocationRequest) -> bool:
    """Return whether the batch, with the block, fits where nothing else is."""
    return request.needed_bytes + request.own_bytes <= request.most_bytes


def fits_as_one_item(request: AllocationRequest) -> bool:
    """Return whether one item fits where the batch has several: small ones became large behind a source."""
    return request.items > 1 and request.wanted_bytes - request.own_bytes <= request.limit_bytes


def fits_twice_the_limit(request: AllocationRequest) -> bool:
    """Return whether the block fits if the limit is passed by as much again."""
    return request.wanted_bytes <= 2 * request.limit_bytes


def fits_beside_an_item(request: AllocationRequest) -> bool:
    """Return whether the block fits but for one batch: a loop keeps the item that it is at until it has the next."""
    return request.wanted_bytes <= request.limit_bytes + request.item_bytes


def is_first(request: AllocationRequest) -> bool:
    """Return whether the others may be waiting for this batch, so that it is not to wait for them."""
    return request.is_oldest or is_stuck(request)


def is_alone(request: AllocationRequest) -> bool:
    """Return whether no other batch is in flight."""
    return request.is_alone


def has_company(request: AllocationRequest) -> bool:
    """Return whether other batches are in flight, which give memory back when they come out."""
    return not request.is_alone


def is_stuck(request: AllocationRequest) -> bool:
    """Return whether nothing has moved for `STUCK_S`."""
    return request.still_s >= STUCK_S


def is_hopeless(request: AllocationRequest) -> bool:
    """Return whether nothing has moved for `HOPELESS_S`."""
    return request.still_s >= HOPELESS_S


# -- the rules ---------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A decision, and the conditions that must all hold for it."""

    decision: Decision
    conditions: tuple[Callable[[AllocationRequest], bool], ...]


RULES: Final = (
    Rule(Decision.FAIL, (fits_never,)),  # whatever is given back
    Rule(Decision.TAKE, (fits_now,)),
    Rule(Decision.PASS_LIMIT, (is_first, fits_as_one_item)),  # its items became large on their way
    Rule(Decision.PASS_LIMIT, (is_first, has_company, fits_twice_the_limit)),  # the others come out behind it
    # Nobody but the consumer can give memory back, and its loop waits for this batch.
    Rule(Decision.PASS_LIMIT, (is_stuck, is_alone, fits_by_itself, fits_beside_an_item)),
    Rule(Decision.FAIL, (is_hopeless,)),  # what is live is kept, and there will never be enough
    Rule(Decision.WAIT, ()),
)


def decide(request: AllocationRequest) -> Decision:
    """Return what the first rule that applies says."""
    return next(rule.decision for rule in RULES if all(holds(request) for holds in rule.conditions))
