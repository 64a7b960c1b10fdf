"""Takes over the blocks in which NumPy has made the arrays that are sent: what a function returns is not copied.

An array is taken over if nothing of the user's can write to its memory any more: neither the array nor one of those it
is a view of is held by anything else, all of them are plain, and no weak reference leads to them. The generator whose
variable an array is may fill it again, so it counts as a holder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pardata.codec.object_codec import UNKNOWN
from pardata.codec.ownership import is_held_by, is_sole_owner_of_base, sole
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor
from pardata.memory.born.lender import Lender, Pause
from pardata.memory.born.library import LEAST_BORN_BYTES, why_not
from pardata.memory.layout import held_bytes

Array = np.ndarray[Any, Any]


class Births:
    """adopt: what the sender of a worker asks for each array that is not in a block."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self.make_room = lender.make_room

    def adopt(self, arrays: list[Array], index: int, holders: int) -> Anchor | None:
        """Return the anchor of the block that ``arrays[index]`` was born in, if it can be taken over.

        `holders`: as `codec.object_codec.BlockSink.place` has it.
        """
        if holders <= UNKNOWN or arrays[index].nbytes < LEAST_BORN_BYTES or not _is_sole(arrays, index, holders):
            return None
        root = arrays[index]
        while root.base is not None:
            root = root.base
        return self._lender.hand_over(root, held_bytes(arrays[index]))


def _is_sole(arrays: list[Array], index: int, holders: int) -> bool:
    """Return whether nothing but `arrays` and `holders` others has an array, and only it those it is a view of."""
    if type(arrays[index]) is not np.ndarray or not is_held_by(arrays, index, holders):
        return False
    array: Any = arrays[index]
    while array.base is not None:
        if type(array.base) is not np.ndarray or not is_sole_owner_of_base(array):
            return False
        array = array.base
    # Memory of others may be an array without a base, too: variables of Fortran modules.
    return bool(array.flags.owndata)


def open_lender(arena: Arena, poll: Callable[[], None], pause: Pause, keep_bytes: int) -> Lender | None:
    """Have arrays of this worker's thread born in its arena; None: where that cannot be, they are copied."""
    if arena.budget is None or _refusal() is not None:
        return None
    try:
        return Lender(arena, arena.budget, poll, pause, keep_bytes)
    except OSError:
        return None


def _refusal() -> str | None:
    if not sole.element or not sole.base:
        return "references are not counted reliably by this Python"
    return why_not()


def describe_births() -> str:
    """Return for people whether results are born in blocks in workers that start now, and why they are not."""
    refusal = _refusal()
    return "on" if refusal is None else f"off, so results are copied into it: {refusal}"
