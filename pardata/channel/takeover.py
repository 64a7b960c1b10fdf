"""The decisions of a successor: what the words of a dead process say, and what is done about it. Pure.

A successor has the span and the sockets of the dead process. It reads the words before it runs the user's code, in this
order, since each step goes by what the one before has stored:

1. `channel.slots.SenderSlots`: the last stamp of each outgoing channel, and the `SlotWords` of each slot.
2. `channel.sender.Sender.redeem`: the `PledgeWords` of each outgoing channel; this may store further stamps.
3. `runtime.worker.recovery.recover`: the `RowWords` of each lease that was given, by those last stamps.
4. `runtime.worker.endpoints.Endpoints.announce`: without a decision, HELLO on each output, a report of the leases that
   are held on each input, and all retired cells again. The other sides find out what they have missed.
5. `runtime.worker.recovery.Recovery.resume`: the `BatchWords`. Step.COMMIT and Step.FAIL are done when the batch is
   taken. Messages before NEXT_NUMBER are discarded where order is kept (`channel.collector.Collector`).
6. Of a filter with a state, `pipeline.programs.generator`: the `StateWords`, at the first batch.
7. Of a source, `Recovery.resume_point` is the number to go on from, and `channel.tokens.Tokens.holder` tells by the
   `CellWords` which cell its first batch has already.

In `FINDINGS`, the first one that holds decides. docs/protocol.md has the same table; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from pardata.channel.leases import OWN


class Step(Enum):
    """A step of the successor."""

    FREE_SLOT = "the slot is free"
    KEEP_SLOT = "the slot is in use until the receiver has finished the message"
    KEEP_PLEDGE = "the message is published already, or there is none"
    FORGET_PLEDGE = "PLEDGED becomes 0: the leader's next message has the same stamp, and would publish this one"
    PUBLISH = "the message is published"
    RELEASE = "the row is free, and its block too unless another row names it"
    ADOPT = "the block is in use until the receiver gives the lease back"
    HOLD = "the receiver of that lease holds it again, until the reader behind gives this one back"
    TAKE_TURN = "the order begins with the input of TURN"
    COMMIT = "the batch comes first and is committed; the user's code does not see it"
    FAIL = "the run ends with WorkerLostError"
    AGAIN = "the batch comes first and is processed again"
    DROP_ITEMS = "its items are left out, and it is committed"
    TAKE_ITEMS = "its items are taken; of what they become, what is published already is left out by its number"
    KEEP_CELL = "the batch is made again with this cell"
    LEAVE_CELL = "the cell is another batch's, or free"


class SlotWords(NamedTuple):
    """A slot of an outgoing channel."""

    stamp: int
    done: int


class PledgeWords(NamedTuple):
    """An outgoing channel, and the leader that its pledge names."""

    pledged: int
    last_stamp: int
    leader_stamp: int
    leaders_last_stamp: int


class RowWords(NamedTuple):
    """A row of the lease table that was not released, and the last stamp of its channel."""

    message: int
    last_stamp: int
    origin: int


class BatchWords(NamedTuple):
    """The batch of CURRENT_BATCH; the last three count only if there is one.

    `is_unfinished`: an input still has it, and its number is not before NEXT_NUMBER where order is kept.
    `is_published`: it is the last message of an output; joint publication makes it that of all of them.
    """

    is_noted: bool
    is_unfinished: bool
    is_published: bool
    is_inplace: bool


class StateWords(NamedTuple):
    """The (sequence, number) that the last saved state names, and that of the first batch."""

    saved: tuple[int, int]
    first: tuple[int, int]


class CellWords(NamedTuple):
    """A cell, and the number of the batch that is to have one."""

    holder: int
    number: int
    is_free: bool


class Finding(NamedTuple):
    """A state of the words, as docs/protocol.md tells it, and the step that follows."""

    says: str
    holds: Callable[[Any], bool]
    step: Step


FINDINGS: Final[Mapping[type[tuple[Any, ...]], tuple[Finding, ...]]] = {
    SlotWords: (
        Finding("done is the stamp", lambda slot: slot.done == slot.stamp, Step.FREE_SLOT),
        Finding("done is an older one", lambda slot: True, Step.KEEP_SLOT),
    ),
    PledgeWords: (
        Finding("PLEDGED is not above the last stamp", lambda it: it.pledged <= it.last_stamp, Step.KEEP_PLEDGE),
        Finding(
            "the leader's last stamp is below LEADER_STAMP",
            lambda it: it.leaders_last_stamp < it.leader_stamp,
            Step.FORGET_PLEDGE,
        ),
        Finding("the leader has LEADER_STAMP", lambda it: True, Step.PUBLISH),
    ),
    RowWords: (
        Finding(
            "its message is above the last stamp: it was never published",
            lambda row: row.message > row.last_stamp,
            Step.RELEASE,
        ),
        Finding("the block is one of its own", lambda row: row.origin == OWN, Step.ADOPT),
        Finding("the block was received: the row names a lease of an input", lambda row: True, Step.HOLD),
    ),
    BatchWords: (
        Finding("CURRENT_BATCH is 0", lambda batch: not batch.is_noted, Step.TAKE_TURN),
        Finding("no input has the batch: it was finished", lambda batch: not batch.is_unfinished, Step.TAKE_TURN),
        Finding("the last message of an output is the batch's", lambda batch: batch.is_published, Step.COMMIT),
        Finding("no output has it, and `inplace=True` may have changed it", lambda batch: batch.is_inplace, Step.FAIL),
        Finding("no output has it", lambda batch: True, Step.AGAIN),
    ),
    StateWords: (
        Finding("the state was saved behind the batch", lambda state: state.saved == state.first, Step.DROP_ITEMS),
        Finding("the state is that before the batch", lambda state: True, Step.TAKE_ITEMS),
    ),
    CellWords: (
        Finding(
            "its holder is the batch that is made next, and no path has retired it",
            lambda cell: cell.holder == cell.number + 1 and not cell.is_free,
            Step.KEEP_CELL,
        ),
        Finding("else", lambda cell: True, Step.LEAVE_CELL),
    ),
}


def decide(words: tuple[Any, ...]) -> Step:
    """Return the step that follows from words of one kind: that of the first finding which holds."""
    return next(finding.step for finding in FINDINGS[type(words)] if finding.holds(words))
