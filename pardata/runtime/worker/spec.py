"""The description that a worker gets of itself, and the places of the tables at the beginning of its span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from pardata.channel.channel import ChannelSpec
from pardata.channel.leases import TABLE_BYTES
from pardata.channel.tokens import TerminalSpec, TokenSpec
from pardata.codec.access import Access
from pardata.memory.arena import HEADER_BYTES, Span
from pardata.memory.budget import Budget
from pardata.memory.segment import Segment
from pardata.runtime.admission.inflight import InFlightSpec
from pardata.runtime.poison_items import POISON_BYTES

# A span: header | table of leases | notes of poison items | channels, tokens, state, record, as `wiring` takes them, up
# to `control_bytes` | arena. In bytes from its beginning:
LEASES_AT: Final = HEADER_BYTES
POISON_AT: Final = LEASES_AT + TABLE_BYTES
CHANNELS_AT: Final = POISON_AT + POISON_BYTES


@dataclass(frozen=True)
class InputSpec:
    """A channel over which batches come in.

    Attributes
    ----------
    edge : int
        The input of the stage that the channel belongs to.
    renamed : dict
        The numbers by which its sequences are known to the stage (see `pipeline.plan.stage.Edge`).
    sender : str
        The stage in front.
    """

    channel: ChannelSpec
    edge: int
    renamed: dict[int, int]
    sender: str


@dataclass(frozen=True)
class OutputSpec:
    """The channels to all workers of one stage behind; `branch`: which items go there, None: all."""

    channels: list[ChannelSpec]
    branch: int | None


@dataclass(frozen=True)
class BudgetSpec:
    """The memory limit of a run or a pool, and the spans whose bytes it counts, with their names in errors."""

    limit_bytes: int
    spans: list[tuple[Span, str]]

    def open(self, segment: Segment) -> Budget:
        """Return the budget over these spans."""
        return Budget(
            self.limit_bytes, [span.words(segment) for span, _ in self.spans], [name for _, name in self.spans]
        )


class OwnAreas(NamedTuple):
    """Parts of a worker's span that only it writes to, each as its place in the segment and its bytes; None: not there.

    `state`: for a successor (`worker.state`). `record`: for pictures (`runtime.recording`).
    """

    state: tuple[int, int] | None = None
    record: tuple[int, int] | None = None


@dataclass(frozen=True)
class WorkerSpec:
    """All that a worker needs but its sockets.

    Attributes
    ----------
    control_bytes : int
        Of the span, in front of the arena.
    sequences : list of int
        All sequences whose batches it takes or sends.
    most_owed : (int, int)
        So many commits are told to the senders at a time; the second number counts where they hold blocks.
    writers : Access
        The most that a reader of the run does with arrays; see `channel.placing.BlockPlacer`.
    inflight : InFlightSpec, optional
        None: a worker that gets no memory fails.
    areas : OwnAreas
        Where it saves its state and records what it does.
    parent_at : int
        Of a pool's worker: where the span of its parent begins.
    """

    stage: str
    index: int
    span: Span
    control_bytes: int
    inputs: list[InputSpec]
    outputs: list[OutputSpec]
    tokens: TokenSpec | None
    terminals: list[TerminalSpec]
    sequences: list[int]
    most_owed: tuple[int, int]
    writers: Access
    budget: BudgetSpec
    inflight: InFlightSpec | None = None
    areas: OwnAreas = OwnAreas()  # noqa: RUF009 -- it cannot be changed
    parent_at: int = 0

    @property
    def label(self) -> str:
        """Name of the worker for messages."""
        return f"stage {self.stage!r}" if self.inflight is not None else "a task of the pool"
