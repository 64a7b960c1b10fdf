"""What became of one item on its way through a stream (see `Stream.dry_run`)."""

from __future__ import annotations

from dataclasses import dataclass

from pardata.memory.budget import format_bytes
from pardata.runtime.progress import table


@dataclass(frozen=True)
class DryEdge:
    """What one stage has made of the item.

    Attributes
    ----------
    items : int
        How many items it became.
    first : str
        Kind, shape and dtype of the first one.
    nbytes : int
        Of all arrays in them.
    seconds : float
        In the stage, without those in front of it.
    """

    stage: str
    items: int
    first: str
    nbytes: int
    seconds: float


@dataclass(frozen=True, repr=False)
class DryRun:
    """What each stage has made of an item. ``print`` shows it as a table."""

    edges: list[DryEdge]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [("stage", "items", "first", "arrays", "seconds")]
        for edge in self.edges:
            rows.append((edge.stage, str(edge.items), edge.first, format_bytes(edge.nbytes), f"{edge.seconds:.6f}"))
        return table(rows)
