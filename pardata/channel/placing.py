"""Arrays that are sent are put into blocks: passed on in the block that they lie in, or copied into a new one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np

from pardata.channel.births import Births
from pardata.channel.block_copies import ROW_ALIGNMENT, copied, copied_rows, packed_bytes
from pardata.channel.leases import BORROWED, OWN, Lease
from pardata.codec.access import Access
from pardata.codec.object_codec import BARE, PACKED_BYTES, PART, Placed, is_small_part
from pardata.codec.ownership import is_held_by, is_owned_with, is_sole_owner, is_sole_view
from pardata.memory.arena import Arena
from pardata.memory.array import Anchor, find_anchor, is_adopted, is_in
from pardata.memory.born.library import LEAST_BORN_BYTES
from pardata.memory.byte_order import native_dtype
from pardata.memory.data_pointer import data_pointer
from pardata.memory.gaps import align
from pardata.memory.layout import held_bytes

_NO_BLOCK: Final = id(None)

Array = np.ndarray[Any, Any]


class _Message:
    """The arrays of a message, and their places so far.

    Attributes
    ----------
    holders : sequence of int
        As `BlockSink.place` has them.
    sizes : list of int
        Bytes of copies.
    placed : list
        Per array, its place; None: it is to be copied.
    shared : set of int
        The arrays of which others may have the original: their reader is not to take the copy for its own.
    """

    __slots__ = ("arrays", "holders", "placed", "shared", "sizes")

    def __init__(self, arrays: list[Array], holders: Sequence[int]) -> None:
        self.arrays = arrays
        self.holders = holders
        self.sizes = [array.nbytes if array.flags.c_contiguous else held_bytes(array) for array in arrays]
        self.placed: list[Placed | None] = [None] * len(arrays)
        self.shared: set[int] = set()

    def bytes_of(self, indices: list[int]) -> int:
        """Return the bytes of some of the arrays."""
        sizes = self.sizes
        return sum([sizes[index] for index in indices])

    def rest(self) -> list[int]:
        """Return the arrays that have no place."""
        return [index for index, place in enumerate(self.placed) if place is None]


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
    gives_parts : bool
        Blocks are given away that arrays in plain containers have, as well: a pool's result is one part of a message.
    given : list of Anchor, optional
        Gets the blocks that are given away, for a caller that may have to take them back.
    fan_out : bool
        The batch that is being packed goes to several edges.
    makes_native : bool
        Copies are in the machine's byte order.
    sent_bytes, made_bytes : int
        Bytes of all arrays that were placed, and of what else is sent; those of the blocks that were made for them.
    """

    def __init__(self, arena: Arena, in_parent: bool, writers: Access) -> None:
        self.arena = arena
        self.generator: object = None
        self.births: Births | None = None
        self.gives_parts = self.makes_native = False
        self.given: list[Anchor] | None = None
        self.sent_bytes = 0
        self.made_bytes = 0
        self.in_parent = in_parent
        self.writers = writers
        self.fan_out = False
        self._memory = arena.segment.map
        self._address = int(np.frombuffer(self._memory, np.uint8, 1).ctypes.data)
        self._start, self._end = arena.span.offset, arena.span.offset + arena.span.size_bytes

    def may_take_over(self, arrays: list[Array]) -> bool:
        """Return whether the memory of one of the arrays may become that of the message, if nobody else has it."""
        if self.births is None or self.gives_parts:
            return self.gives_parts
        return any([array.nbytes >= LEAST_BORN_BYTES and type(array.base) is not Anchor for array in arrays])

    def place(self, arrays: list[Array], holders: Sequence[int]) -> list[Placed]:
        """Return the places of the arrays of one message, which are copied if need be: small ones beside each other."""
        message = _Message(arrays, holders)
        self.sent_bytes += sum(message.sizes)
        if len(arrays) == 1:
            self._place_only(message)
            return message.placed  # type: ignore[return-value]
        by_block: dict[int, list[int]] = {}
        block, adopted = None, {}  # anchors that nothing else may hold: while they are here, no other one has their id
        for index in range(len(arrays)):
            block = find_anchor(arrays[index])
            by_block.setdefault(id(block), []).append(index)
            if is_adopted(block):
                adopted[id(block)] = block
        del block  # `_pass_on` counts references
        is_only = sum([message.bytes_of(indices) < PACKED_BYTES for indices in by_block.values()]) <= 1
        for key, indices in by_block.items():
            if key == _NO_BLOCK:
                self._take_over(message, indices)
            else:
                self._pass_on(message, indices, is_only)
        for is_shared in (False, True):  # apart, as a block has one flag for all arrays in it
            rest = [index for index in message.rest() if (index in message.shared) is is_shared]
            if rest:
                self._copy(message, rest, is_shared)
        return message.placed  # type: ignore[return-value]

    def place_rows(self, arrays: list[Array]) -> tuple[Anchor, Array]:
        """Copy arrays of one layout, which are in no block, beside each other into one; return it, and all as rows."""
        first, count = arrays[0], len(arrays)
        self.sent_bytes += count * first.nbytes
        block = self.reserve(packed_bytes(count * align(first.nbytes, ROW_ALIGNMENT)))
        return block, copied_rows(native_dtype(first.dtype) if self.makes_native else first.dtype, arrays, block)

    def _place_only(self, message: _Message) -> None:
        """Place the array of a message that has no other."""
        block = find_anchor(message.arrays[0])
        adopted = block if is_adopted(block) else None  # held here as by `place`: `_pass_on` counts references
        del block
        self._pass_on(message, [0], True)
        del adopted
        if message.placed[0] is None:
            self._take_over(message, [0])
        if message.placed[0] is None:
            self._copy(message, [0], 0 in message.shared)

    def _take_over(self, message: _Message, indices: list[int]) -> None:
        """Place arrays that were born in blocks; small ones among others are left to be copied."""
        arrays = message.arrays
        if self.births is None:
            return
        for index in indices:
            if len(arrays) == 1 or message.sizes[index] >= PACKED_BYTES:
                born = self.births.adopt(arrays, index, message.holders[index])
                if born is not None:
                    message.placed[index] = self._hand_over(born, arrays[index])

    def _pass_on(self, message: _Message, indices: list[int], is_only: bool) -> None:
        """Place arrays in the block that they all lie in, unless user code may still write to them.

        Left to be copied are also small ones that have the block for themselves, if there are others (not `is_only`),
        and such as are a small part of it.
        """
        arrays, used = message.arrays, message.bytes_of(indices)
        block = find_anchor(arrays[indices[0]])
        if block is None or not is_in(block, self._memory) or not self._may_pass(block):
            return
        # References of this variable, the other arrays, the block's message, and `place`.
        known = len(indices) + block.claimed + is_adopted(block)
        is_alone = True  # unknown for a part of an object
        for index in indices:
            if not self._is_alone(arrays, index, known, message.holders[index]):
                is_alone = False
                break
        if not is_alone:
            indices = [index for index in indices if not arrays[index].flags.writeable]
        if is_small_part(block, used):
            message.shared.update(() if is_alone else indices)
            return
        if is_alone and used < PACKED_BYTES and not is_only:
            return
        for index in indices:
            arrays[index].setflags(write=False)
            message.placed[index] = block, self._offset_in(block, arrays[index]), arrays[index]
        if indices and self.writers and not block.shared:
            self._give_away(block, is_alone and self._stays_alone(arrays, indices))

    def _stays_alone(self, arrays: list[Array], indices: list[int]) -> bool:
        """Return whether the suspended generator will not yield one of the arrays again to a reader that may write."""
        if self.generator is None or self.writers is not Access.RESULT:
            return True
        return all([is_sole_owner(arrays, index) for index in indices])

    def _give_away(self, block: Anchor, is_alone: bool) -> None:
        if block.given_away:
            raise ValueError(
                "this array was handed on before, and a stage behind may have changed it in place: hand on a new one, "
                "or a copy"
            )
        block.shared = not is_alone
        # Of a fan-out each reader has the block, so none may write to it.
        block.given_away = is_alone and not self.fan_out
        if self.given is not None and block.given_away:
            self.given.append(block)

    def _hand_over(self, block: Anchor, array: Array) -> tuple[Anchor, int, Array]:
        """Send the block that an array was born in. Nobody else has it, so one reader may write to it."""
        self.made_bytes += block.extent_bytes
        array.setflags(write=False)
        block.given_away = bool(self.writers) and not self.fan_out
        return block, self._offset_in(block, array), array

    def _offset_in(self, block: Anchor, array: Array) -> int:
        return data_pointer(array) - self._address - block.offset

    def _is_alone(self, arrays: list[Array], index: int, known: int, holders: int) -> bool:
        """Return whether user code has neither ``arrays[index]`` nor another view of its block."""
        if holders < BARE or (holders and not self.gives_parts):
            return False
        if not is_sole_view(arrays[index], known):
            return False
        if is_held_by(arrays, index, holders):
            return True
        return holders == BARE and is_owned_with(self.generator, arrays, index)

    def _may_pass(self, block: Anchor) -> bool:
        return self.in_parent or self._start <= block.offset < self._end or isinstance(block.token, Lease)

    def _copy(self, message: _Message, rest: list[int], is_shared: bool) -> None:
        """Place arrays by copies: small ones in one block, each of the others in its own."""
        sizes, placed = message.sizes, message.placed
        small = [index for index in rest if sizes[index] < PACKED_BYTES]
        if len(small) > 1:
            begins = list(accumulate([align(sizes[index], ROW_ALIGNMENT) for index in small], initial=0))
            block = self.reserve(packed_bytes(begins[-1]))
            block.shared = is_shared
            for index, begin in zip(small, begins, strict=False):
                placed[index] = self._copied(message, index, block, begin)
        for index in rest:
            if placed[index] is None:
                block = self.reserve(sizes[index])
                block.shared = is_shared
                placed[index] = self._copied(message, index, block, 0)

    def _copied(self, message: _Message, index: int, block: Anchor, begin: int) -> Placed:
        """Copy an array into a block, from there on."""
        array = message.arrays[index]
        if self.makes_native and message.holders[index] != PART:
            return copied(native_dtype(array.dtype), array, block, begin)
        return copied(array.dtype, array, block, begin)

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
