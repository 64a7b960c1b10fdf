"""The description of a job on arrays, as workers get it: the function, and the addresses of its arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pardata.memory.segment import Segment


class ArrayRef(Protocol):
    """An address that a worker opens as an array."""

    def open(self, segment: Segment) -> Any:
        """Return the array, writable where it can be."""


@dataclass(frozen=True)
class Work:
    """The common part of all chunks of a job on arrays; encoded once.

    Parameters
    ----------
    fn : callable
        On its way to a worker process, the address of its code.
    kind : "map" (results into `out`), "first" (the result of one block is sent back), "reduce" or "each" (in place)
    axis : int
        Along which the inputs are cut.
    halo : int
        How many entries more a call gets on each side, where there are any.
    place : int
        The axis of `out` that belongs to it.
    exact : bool
        Results must have the dtype of `out`; else one that NumPy casts to it as "same_kind".
    combine : callable
        Of "reduce".
    native : bool
        Blocks are converted to the machine's byte order.
    """

    fn: Any
    inputs: tuple[ArrayRef, ...]
    kind: Literal["map", "first", "reduce", "each"]
    axis: int = 0
    halo: int = 0
    out: ArrayRef | None = None
    place: int = 0
    exact: bool = True
    combine: Callable[[Any, Any], Any] | None = None
    native: bool = False
