"""An object <-> its pickle stream + the blocks that its large arrays live in. No I/O.

The stream stands behind the addresses of the arrays: the number of the block, the place in it, and whether the array is
the reader's own (`codec.access`).
"""

from __future__ import annotations

import io
import marshal
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from pardata.codec.access import Access
from pardata.codec.exits import EXITS_AND_DEPTH, refuse_exit
from pardata.codec.picklers import ArrayPickler, ArrayUnpickler, CodePickler
from pardata.memory import write_check
from pardata.memory.array import Anchor, view
from pardata.memory.layout import is_overlapping

PICKLE = 0  # the kind of such a payload
# Arrays below this lie together in one block per message. Measured: the copy of one costs less than a block of its own,
# with its lease, at both ends of a hop.
PACKED_BYTES: Final = 256 << 10
# In place of the number of objects that hold an array beside the encoder's list. PART: it is of an array of a subclass.
PART, UNKNOWN, BARE = -2, -1, 0

# bool to complex256, bytes, str, times, half: types that `dtype.str` describes whole, but for metadata of the user
_NUMBERED: Final = frozenset((*range(17), 18, 19, 21, 22, 23))
_NOWHERE: Final[Mapping[int, int]] = {}

Array = np.ndarray[Any, Any]
Placed = tuple[Anchor, int, Array]  # the block of an array, the offset in it, and the array there
AnyPickler = ArrayPickler | CodePickler


class BlockSink(Protocol):
    """Takes the arrays of an encoder into blocks."""

    def may_take_over(self, arrays: list[Array]) -> bool:
        """Return whether the memory of one of the arrays may become that of the message, if nobody else has it."""

    def place(self, arrays: list[Array], holders: Sequence[int]) -> list[Placed]:
        """Return the places of the arrays of one message, which are copied if need be.

        `holders`: how many objects hold each array beside `arrays`, as far as the encoder knows; `BARE` is none. A part
        of an object has `UNKNOWN` ones, unless it stands in plain containers that nobody else has either.
        """


class Encoded:
    """A payload and the anchors of the blocks it refers to by index."""

    __slots__ = ("anchors", "kind", "payload")

    def __init__(self, kind: int, payload: bytes, anchors: list[Anchor]) -> None:
        self.kind = kind
        self.payload = payload
        self.anchors = anchors


def is_plain_dtype(dtype: np.dtype[Any]) -> bool:
    """Return whether `dtype.str` describes it whole."""
    return dtype.num in _NUMBERED and dtype.metadata is None


def index_of(anchors: list[Anchor], block: Anchor) -> int:
    for index, known in enumerate(anchors):
        if known is block:
            return index
    anchors.append(block)
    return len(anchors) - 1


def strides_of(array: Array) -> tuple[int, ...] | None:
    return None if array.flags.c_contiguous else array.strides


def pickled(kind: type[AnyPickler], obj: Any, is_lasting: bool) -> tuple[bytes, AnyPickler]:
    """Return a pickle stream, and the pickler that knows the arrays that have left it."""
    file = io.BytesIO()
    pickler = kind(file, is_lasting)
    try:
        pickler.dump(obj)
    except EXITS_AND_DEPTH as error:
        refuse_exit(error, "pickling")
        raise
    return file.getvalue(), pickler


def with_blocks(
    stream: bytes, pickler: AnyPickler, private: Sequence[bool], sink: BlockSink, places: Mapping[int, int] = _NOWHERE
) -> Encoded:
    """Put the arrays of a pickle stream into blocks; their addresses stand before it, and whether each is private.

    `places`: as `codec.ownership.places_in` has it.
    """
    if not pickler.arrays:
        return Encoded(PICKLE, bytes(4) + stream, [])
    anchors: list[Anchor] = []
    addresses = []
    holders = [places.get(id(array), UNKNOWN) for array in pickler.arrays]
    for index in pickler.parts():
        holders[index] = PART
    for (block, offset, placed), is_private in zip(sink.place(pickler.arrays, holders), private, strict=True):
        dtype = placed.dtype  # a pickle of it takes longer than all else here
        name = dtype.str if is_plain_dtype(dtype) else pickle.dumps(dtype, 5)
        addresses.append((index_of(anchors, block), offset, name, placed.shape, strides_of(placed), is_private))
    head = marshal.dumps(addresses)
    return Encoded(PICKLE, len(head).to_bytes(4, "little") + head + stream, anchors)


def is_small_part(block: Anchor, nbytes: int) -> bool:
    """Return whether an array is not worth the block that it lies in: to keep it is to keep the whole block."""
    return nbytes < PACKED_BYTES and 2 * nbytes < block.extent_bytes


def accessed(block: Anchor, array: Array, access: Access, is_private: bool = False) -> Array:
    """Return the array in `block` for its reader (`codec.access`)."""
    if (access or is_private) and not is_overlapping(array):
        if access is Access.RESULT and block.crowded and is_small_part(block, array.nbytes):
            copied = array.copy(order="K")
            copied.setflags(write=is_private or not block.shared)
            return copied
        if access and not block.shared:
            write_check.note_writable(array)
            return array
        if is_private or access is Access.INPLACE:
            return array.copy(order="K")
    array.setflags(write=False)
    write_check.note_read_only(array)
    return array


def arrays_of(file: io.BytesIO, anchors: Sequence[Anchor], access: Access) -> list[Array]:
    """Return the arrays in blocks of a `PICKLE` payload; `file` is read up to the pickle."""
    return [
        accessed(anchors[index], view(anchors[index], offset, dtype, shape, strides), access, is_private)
        for index, offset, dtype, shape, strides, is_private in _addresses(file)
    ]


def decode_object(payload: Any, anchors: Sequence[Anchor], access: Access = Access.READ) -> Any:
    """Return the object of a `PICKLE` payload; its arrays are views of the blocks, or copies that are its own."""
    file = io.BytesIO(payload)
    try:
        return ArrayUnpickler(file, arrays_of(file, anchors, access), access).load()
    except EXITS_AND_DEPTH as error:
        refuse_exit(error, "unpickling")
        raise


def decode_state(payload: Any, anchors: Sequence[Anchor], own: Callable[[Anchor, Array], Array]) -> Any:
    """Return a function, or another object with a state, of a `PICKLE` payload.

    `own` returns what the object gets in place of an array in a block that is to be its own.
    """
    file = io.BytesIO(payload)
    arrays = []
    for index, offset, dtype, shape, strides, is_private in _addresses(file):
        block = anchors[index]
        array = view(block, offset, dtype, shape, strides)
        if is_private and not is_overlapping(array):
            array = own(block, array)
        else:
            array.setflags(write=False)
            write_check.note_read_only(array)
        arrays.append(array)
    try:
        return ArrayUnpickler(file, arrays, Access.READ).load()
    except EXITS_AND_DEPTH as error:
        refuse_exit(error, "unpickling")
        raise


def private_bytes(payload: Any) -> int:
    """Return the bytes of the large arrays of an encoded object that its reader copies."""
    addresses = _addresses(io.BytesIO(payload))
    return sum(math.prod(shape) * dtype.itemsize for *_, dtype, shape, _, is_private in addresses if is_private)


def _addresses(file: io.BytesIO) -> list[tuple[int, int, np.dtype[Any], tuple[int, ...], Any, bool]]:
    """Return the addresses as `with_blocks` has them, with dtypes."""
    length = int.from_bytes(file.read(4), "little")
    return [
        (index, offset, np.dtype(name) if type(name) is str else pickle.loads(name), shape, strides, is_private)
        for index, offset, name, shape, strides, is_private in (marshal.loads(file.read(length)) if length else ())
    ]
