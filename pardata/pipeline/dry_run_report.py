"""The result of a trial with one item (see `Stream.dry_run`)."""

from __future__ import annotations

from dataclasses import dataclass

from pardata.memory.budget import format_bytes
from pardata.runtime.text_table import table


@dataclass(frozen=True)
class DryEdge:
    """The outputs of one stage.

    Attributes
    ----------
    items : int
        How many items the one item has become.
    first : str
        Kind, shape and dtype of the first one.
    nbytes : int
        Bytes of all arrays in them.
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
    """The outputs of each stage for one item. ``print`` shows them as a table.

    Attributes
    ----------
    edges : list
        One entry for each stage, in the order of the plan: `stage`, its name; `items`, how many the one item has
        become; `first`, the kind, shape and dtype of the first of them; `nbytes` of all arrays in them; `seconds` in
        the stage, without those in front of it.

    Examples
    --------
    >>> [(edge.stage, edge.first) for edge in pardata.source(np.zeros((3, 4))).map(np.sum).dry_run().edges]
    [('source', 'float64 (4,)'), ('sum', 'float64 ()')]
    """

    edges: list[DryEdge]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        rows = [("stage", "items", "first", "arrays", "seconds")]
        for edge in self.edges:
            rows.append((edge.stage, str(edge.items), edge.first, format_bytes(edge.nbytes), f"{edge.seconds:.6f}"))
        return table(rows)
