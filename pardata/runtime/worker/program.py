"""The description that a worker gets of itself, and the exceptions that end its program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pardata.channel.channel import ChannelSpec
from pardata.channel.leases import TABLE_BYTES
from pardata.channel.tokens import TerminalSpec, TokenSpec
from pardata.codec.batch_codec import Batch
from pardata.errors import SerializationError
from pardata.memory.arena import HEADER_BYTES, Span
from pardata.memory.budget import Budget
from pardata.memory.segment import Segment
from pardata.runtime.admission.inflight import FlightSpec
from pardata.runtime.faults import Fault
from pardata.runtime.poison_items import POISON_BYTES

LEASES_AT: Final = HEADER_BYTES
POISON_AT: Final = LEASES_AT + TABLE_BYTES
CHANNELS_AT: Final = POISON_AT + POISON_BYTES

TIMER_NAME: Final = "pardata-flusher"  # the thread of a source that sends batches which were begun and not filled


class Cancelled(BaseException):
    """The parent has cancelled the run: leave."""


class Leaving(BaseException):
    """This process makes room for a fresh one, which goes on: leave."""


class StageFailure(Exception):
    """The user's code raised; carries the fault to tell the parent."""

    def __init__(self, fault: Fault, original: BaseException) -> None:
        super().__init__(fault.error)
        self.fault = fault
        self.original = original


class UnloadableError(Exception):
    """Some items of a batch were pickled by the stage before, and cannot be unpickled here.

    Parameters
    ----------
    batches : list of Batch
        The batches that were taken, without these items.
    lost : (place, sender, number, error) tuples
        The place of each in its batch, the stage that has sent it, its number and its error.
    """

    def __init__(self, batches: list[Batch], lost: list[tuple[int, str, int, BaseException]]) -> None:
        super().__init__(f"{len(lost)} items cannot be loaded")
        self.batches = batches
        self.lost = lost

    def faults(self, stage: str | None = None) -> list[tuple[int, Fault]]:
        """Return the place of each, and its fault: as one of `stage`, or of its sender."""
        return [
            (place, Fault.of(_refusal(sender, number, error), stage or sender, number))
            for place, sender, number, error in self.lost
        ]

    def failure(self) -> StageFailure:
        """Return the failure that ends the run."""
        _, fault = self.faults()[0]
        return StageFailure(fault, fault.exception())


def _refusal(sender: str, number: int, error: BaseException) -> SerializationError:
    made = SerializationError(
        f"the result of stage {sender!r} for item {number} cannot be loaded in another process: it pickles, but "
        f"unpickling it raised {type(error).__name__}: {error}"
    )
    return made.with_traceback(error.__traceback__)


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs but its descriptors, which come as: control, inputs, outputs, tokens, terminals.

    `most_owed`: so many commits are told to the senders at a time; the second number counts where they hold blocks.
    """

    stage: str
    index: int
    span: Span
    control_bytes: int
    inputs: list[tuple[ChannelSpec, int, dict[int, int]]]
    outputs: list[list[ChannelSpec]]
    tokens: TokenSpec | None
    terminals: list[TerminalSpec]
    sequences: list[int]
    most_owed: tuple[int, int]
    has_inplace: bool
    limit_bytes: int
    budget_spans: list[tuple[Span, str]]
    branches: list[int | None] = field(default_factory=list)  # per edge of `outputs`: which items go there, None: all
    inflight: FlightSpec | None = None  # None: a worker that gets no memory fails
    state: tuple[int, int] | None = None  # where, and in how many bytes, it saves its state
    parent_at: int = 0  # of a pool's worker: where the span of its parent begins
    senders: list[str] = field(default_factory=list)  # per input: the stage

    def budget(self, segment: Segment) -> Budget:
        """Return the budget that all workers share."""
        headers = [span.words(segment) for span, _ in self.budget_spans]
        return Budget(self.limit_bytes, headers, [name for _, name in self.budget_spans])

    @property
    def label(self) -> str:
        """Name of the worker for messages."""
        return f"stage {self.stage!r}"
