"""Arrays that are sent are put into blocks: passed on in the block that they lie in, or copied into a new one."""

from __future__ import annotations

from typing import Any

import numpy as np

from pardata.channel.births import Births
from pardata.channel.leases import BORROWED, OWN, Lease
from pardata.codec.access import Access
from pardata.codec.object_codec import BARE
from pardata.codec.ownership import is_owned_with, is_sole_owner, is_sole_view
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, find_anchor, is_in, view
from pardata.memory.layout import copy_records, fill, held_bytes, layout_of

Array = np.ndarray[Any, Any]


class BlockPlacer:
    """The block sink of one process (`codec.object_codec.BlockSink`).

    Parameters
    ----------
    in_parent : bool
        The sender is a thread of the process that the user started. It is never replaced, so it may pass on any block
        of the segment; a worker must be able to tell its successor where a block came from.
    writers : Access
        The most that any reader of the run may do. A block may be given away to be changed, once, if nobody else has
        it: INPLACE, to a stage; RESULT, to the caller only, and not while a suspended generator has it in a variable
        and may yield it again.

    Attributes
    ----------
    births : Births, optional
        Takes over arrays that were born in blocks.
    generator
        Of user code, suspended in the yield of the item that is being sent.
    given : list of Anchor, optional
        Gets the blocks that are given away, for a caller that may have to take them back.
    fan_out : bool
        The batch that is being packed goes to several edges.
    sent_bytes, made_bytes : int
        Bytes of all arrays that were placed, and of what else is sent; those of the blocks that were made for them.
    """

    def __init__(self, arena: Arena, in_parent: bool, writers: Access) -> None:
        self.arena = arena
        self.generator: object = None
        self.births: Births | None = None
        self.given: list[Anchor] | None = None
        self.sent_bytes = 0
        self.made_bytes = 0
        self.in_parent = in_parent
        self.writers = writers
        self.fan_out = False
        self._memory = arena.segment.map
        self._address = int(np.frombuffer(self._memory, np.uint8, 1).ctypes.data)
        self._start, self._end = arena.span.offset, arena.span.offset + arena.span.size_bytes

    @property
    def takes_over(self) -> bool:
        """Whether the memory of a new array may become that of the message."""
        return self.births is not None

    def place(self, arrays: list[Array], index: int, holders: int) -> tuple[Anchor, int, Array]:
        """Return the block of ``arrays[index]``, the offset in it, and the array there (copied if need be)."""
        is_whole = arrays[index].flags.c_contiguous
        self.sent_bytes += arrays[index].nbytes if is_whole else held_bytes(arrays[index])
        block = find_anchor(arrays[index])
        if block is None and self.births is not None:
            born = self.births.adopt(arrays, index, holders)
            if born is not None:
                return self._hand_over(born, arrays[index])
        if block is None or not is_in(block, self._memory) or not self._may_pass(block):
            return self._copy(arrays[index], is_whole)
        known = 1 + block.claimed  # references of this variable, and of the message that has brought the block
        is_alone = holders == BARE and self._is_alone(arrays, index, known)  # unknown for a part of an object
        if arrays[index].flags.writeable and not is_alone:
            return self._copy(arrays[index], is_whole)  # user code may still write to it
        arrays[index].setflags(write=False)
        if self.writers and not block.shared:
            if block.given_away:
                raise ValueError(
                    "this array was handed on before, and a stage behind may have changed it in place: hand on a new "
                    "one, or a copy"
                )
            may_come_again = self.generator is not None and self.writers is Access.RESULT
            block.shared = not (is_alone and (not may_come_again or is_sole_owner(arrays, index)))
            block.given_away = not (block.shared or self.fan_out)
            if self.given is not None and block.given_away:
                self.given.append(block)
        return block, self._offset_in(block, arrays[index]), arrays[index]

    def _hand_over(self, block: Anchor, array: Array) -> tuple[Anchor, int, Array]:
        """Send the block that an array was born in. Nobody else has it, so one reader may write to it."""
        self.made_bytes += block.extent_bytes
        array.setflags(write=False)
        block.given_away = bool(self.writers) and not self.fan_out
        return block, self._offset_in(block, array), array

    def _offset_in(self, block: Anchor, array: Array) -> int:
        return int(array.__array_interface__["data"][0]) - self._address - block.offset

    def _is_alone(self, arrays: list[Array], index: int, known: int) -> bool:
        """Return whether user code has neither ``arrays[index]`` nor another view of its block."""
        if not is_sole_view(arrays[index], known):
            return False
        return is_sole_owner(arrays, index) or is_owned_with(self.generator, arrays, index)

    def _may_pass(self, block: Anchor) -> bool:
        return self.in_parent or self._start <= block.offset < self._end or isinstance(block.token, Lease)

    def _copy(self, array: Array, is_whole: bool) -> tuple[Anchor, int, Array]:
        if is_whole:
            block, dtype = self.reserve(array.nbytes), array.dtype
            copied = view(block, 0, dtype, array.shape, None)
            if dtype.names:
                copy_records(copied, array)
            else:
                np.copyto(copied, array)
            return block, 0, copied
        layout = layout_of(array)
        block = self.reserve(layout.nbytes)
        copied = layout.view(array, block)
        fill(copied, array)
        return block, layout.offset, copied

    def reserve(self, nbytes: int) -> Anchor:
        """Return a new block."""
        if self.births is not None:
            self.births.make_room(nbytes)
        block = self.arena.reserve(nbytes)
        self.made_bytes += block.extent_bytes
        return block

    def origin(self, block: Anchor) -> Lease:
        """Return the lease on which this process has a block."""
        if self._start <= block.offset < self._end:
            return Lease(OWN, 0, 0)
        if self.in_parent or not isinstance(block.token, Lease):
            return Lease(BORROWED, 0, 0)
        return block.token
