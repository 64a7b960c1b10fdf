"""The batches of a run that are in flight, as every worker can read them in the words of the others."""

from __future__ import annotations

from dataclasses import dataclass

from pardata.channel.tokens import TokenSpec, TokenTable
from pardata.memory.arena import Span
from pardata.memory.segment import Segment
from pardata.runtime.admission.item_sizes import ItemSizes
from pardata.runtime.header import ITEMS, SENT_BYTES

BatchKey = tuple[int, int]  # the sequence that its token belongs to, and its number


@dataclass(frozen=True)
class InFlightSpec:
    """The places at which that can be read.

    Attributes
    ----------
    roots : list of int
        Per sequence, the one that its tokens belong to.
    tables : dict
        The tokens of each root.
    sources, stages : list of Span
        Of the workers of sources, and of all others. (No worker waits for memory that a source lets go.)
    consumer : Span
    """

    roots: list[int]
    tables: dict[int, TokenSpec]
    sources: list[Span]
    stages: list[Span]
    consumer: Span


class InFlight:
    """The batches in flight, and how heavy their items are."""

    def __init__(self, spec: InFlightSpec, segment: Segment) -> None:
        self._roots = spec.roots
        self._tables = {root: TokenTable(table, segment) for root, table in spec.tables.items()}
        self._senders = [span.words(segment) for span in [*spec.sources, *spec.stages]]
        self._item_sizes = ItemSizes(len(self._senders))

    def key(self, sequence: int, number: int) -> BatchKey:
        """Return the key of a batch."""
        return self._roots[sequence], number

    def all(self) -> set[BatchKey]:
        """Return the batches that have set out and not come out at the end of every path."""
        return {(root, number) for root, table in self._tables.items() for number in table.held_by()}

    def heaviest_item_bytes(self) -> float:
        """Return the bytes per item where they are most, lately."""
        return self._item_sizes.heaviest([(words[ITEMS], words[SENT_BYTES]) for words in self._senders])
