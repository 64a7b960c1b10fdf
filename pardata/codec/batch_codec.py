"""Object <-> payload bytes + the blocks that its arrays live in. No I/O.

Six encodings: `BYTES` (one item that is bytes: itself), `ARRAYS` (bare arrays that live in blocks: their addresses, by
marshal), `ROWS` (new arrays of one layout beside each other in one block: the layout, and how far apart they are),
`RAW` (equal small arrays in C order: one header and their bytes), `PICKLE` (anything else: pickle protocol 5, in which
every array is a persistent id), `APART` (items that have an array in common and may be changed: each encoded by
itself).
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np

from pardata.codec.access import IMMUTABLE, Access
from pardata.codec.by_value import INLINE_BYTES as INLINE_BYTES
from pardata.codec.by_value import is_script_in
from pardata.codec.object_codec import (
    BARE,
    PACKED_BYTES,
    PICKLE,
    BlockSink,
    Encoded,
    accessed,
    decode_object,
    index_of,
    is_plain_dtype,
    pickled,
    strides_of,
    with_blocks,
)
from pardata.codec.ownership import places_in
from pardata.codec.picklers import MOST_BLOCKS as MOST_BLOCKS
from pardata.codec.picklers import ArrayPickler, CodePickler
from pardata.memory.array import Anchor, view
from pardata.memory.layout import held_bytes
from pardata.memory.mapped import is_mapped
from pardata.memory.shared_array import is_array

ARRAYS, RAW, BYTES, APART, ROWS = 1, 2, 3, 4, 5
_NO_ADDRESSES: Final = bytes(4)
_LAYOUTS: Final = 64  # dtypes and shapes of small arrays whose headers are remembered
_MOST_AXES: Final = 31  # NumPy 1 has 32, NumPy 2 has 64, and equal arrays are the rows of one that has one more
_ALIGNMENT: Final = 16  # of the first small array within its message; a `bytes` object's contents are aligned so

CUT: Final = 1 << 12
"""A flag beside the cell of a batch (cells are below): a cut of a checkpoint lies in front of its first item."""

EVERY: Final = -1
"""In place of a branch: the item goes to each of them."""

Array = np.ndarray[Any, Any]


class Batch:
    """Consecutive items of one sequence: the contents of a message.

    Attributes
    ----------
    sequence : int
        The numbering that the items belong to (one per source; see `pipeline.plan.plan`).
    number, count : int
        The item numbers ``number .. number + count - 1`` that this batch stands for.
    cell : int
        The token of the batch: a cell of its source's token table; with the flag `CUT`, which stays with the batch on
        its way through stages that keep its numbers.
    items : list
        The items that are still there.
    positions : list of int, or None
        The places of the items within ``range(count)``, modulo `count`; None if all are there. An empty batch is a
        tombstone.
    branches : list of int, or None
        The sender's branch that each item goes to, or `EVERY`; None: there are none. Does not cross the channel.
    """

    __slots__ = ("branches", "cell", "count", "items", "number", "positions", "sequence")

    def __init__(
        self, sequence: int, number: int, count: int, cell: int, items: list[Any], positions: list[int] | None = None
    ) -> None:
        self.sequence = sequence
        self.number = number
        self.count = count
        self.cell = cell
        self.items = items
        self.positions = positions
        self.branches: list[int] | None = None

    def with_items(self, items: list[Any], positions: list[int] | None) -> Batch:
        """Return a batch with the same numbers and other items."""
        return Batch(self.sequence, self.number, self.count, self.cell, items, positions)

    def item_number(self, index: int) -> int:
        """Return the number of ``items[index]``."""
        return self.number + (index if self.positions is None else self.positions[index] % self.count)

    @property
    def places(self) -> Sequence[int]:
        """The places of the items."""
        return range(len(self.items)) if self.positions is None else self.positions

    def only(self, indices: list[int]) -> Batch:
        """Return the batch with some of the items."""
        places = self.places
        return self.with_items([self.items[index] for index in indices], [places[index] for index in indices])

    def before(self, place: int) -> Batch:
        """Return the items whose numbers are below that of a place."""
        end = place % self.count
        return self.only([index for index, other in enumerate(self.places) if other % self.count < end])

    def select(self, branch: int) -> Batch:
        """Return the items of one branch."""
        assert self.branches is not None
        return self.only([index for index, other in enumerate(self.branches) if other in (branch, EVERY)])

    def __repr__(self) -> str:
        return f"<Batch {self.sequence}:{self.number}+{self.count}, {len(self.items)} items>"


def encode_pickle(
    obj: Any, sink: BlockSink, apart: bool = False, is_lasting: bool = False, is_private: bool = False
) -> Encoded:
    """Encode any object. Objects of the script are taken by value: no other process has that module.

    Parameters
    ----------
    apart : bool
        `obj` is a list of items that may be changed where they arrive: two that hold one array get one each.
    is_lasting : bool
        See `memory.mapped.file_address`.
    is_private : bool
        All arrays are the receiver's own.
    """
    try:
        stream, pickler = pickled(ArrayPickler, obj, is_lasting)
    except (pickle.PicklingError, AttributeError, TypeError):
        stream, pickler = pickled(CodePickler, obj, is_lasting)
    else:
        if is_script_in(stream):
            stream, pickler = pickled(CodePickler, obj, is_lasting)
    if apart and pickler.has_repeats and len(obj) > 1:
        return _encode_apart(obj, sink)
    private: Sequence[bool] = ()
    places: dict[int, int] = {}
    if pickler.arrays:
        private = [True] * len(pickler.arrays) if is_private else pickler.private(obj)
        if sink.may_take_over(pickler.arrays):
            pickler.clear_memo()  # it holds the containers
            places = places_in(obj)
    return with_blocks(stream, pickler, private, sink, places)


def _encode_apart(items: list[Any], sink: BlockSink) -> Encoded:
    anchors: list[Anchor] = []
    parts = []
    for item in items:
        part = encode_pickle([item], sink)
        parts.append((part.payload, [index_of(anchors, block) for block in part.anchors]))
    return Encoded(APART, marshal.dumps(parts), anchors)


class BatchSink(BlockSink, Protocol):
    """Takes the arrays of batches into blocks."""

    def place_rows(self, arrays: list[Array]) -> tuple[Anchor, Array]:
        """Copy arrays of one layout, which are in no block, beside each other into one; return it, and all as rows."""


def encode(
    items: list[Any], sink: BatchSink, apart: bool = False, is_lasting: bool = False, is_private: bool = False
) -> Encoded:
    """Encode the items of a batch; else as `encode_pickle`."""
    if len(items) == 1 and type(items[0]) is bytes:
        return Encoded(BYTES, items[0], [])
    if not items:
        return Encoded(ARRAYS, b"", [])
    if type(items[0]) in IMMUTABLE and set(map(type, items)) <= IMMUTABLE:
        return Encoded(PICKLE, _NO_ADDRESSES + pickle.dumps(items, 5), [])
    dtype: Any = None
    for item in items:
        if not is_array(item) or not item.nbytes:
            del item  # references to an item, and to what is in it, are counted
            return encode_pickle(items, sink, apart, is_lasting, is_private)
        if item.dtype is not dtype:
            dtype = item.dtype
            if not is_plain_dtype(dtype):
                del item
                return encode_pickle(items, sink, apart, is_lasting, is_private)
    del item
    if items[0].ndim > _MOST_AXES:
        return encode_pickle(items, sink, apart, is_lasting, is_private)
    if items[0].nbytes >= INLINE_BYTES:
        if len(items) > 1 and items[0].nbytes < PACKED_BYTES and _are_new_rows(items):
            block, rows = sink.place_rows(items)
            layout = rows.dtype.str, items[0].shape, len(items), rows.strides[0]
            return Encoded(ROWS, marshal.dumps(layout), [block])
        if len(items) > MOST_BLOCKS or not all(map(_fills_block, items)):
            return encode_pickle(items, sink, apart, is_lasting, is_private)
        return _encode_arrays(items, sink)
    dtype, shape = items[0].dtype, items[0].shape
    has_axes = len(shape) > 1
    for item in items:
        if (has_axes or item.base is not None) and not item.flags.c_contiguous:
            return encode_pickle(items, sink, apart, is_lasting, is_private)
        if item.shape != shape or item.dtype != dtype:
            return encode_pickle(items, sink, apart, is_lasting, is_private)
    return Encoded(RAW, b"".join([_raw_head(dtype, shape), *[item.tobytes() for item in items]]), [])


def _are_new_rows(items: list[Array]) -> bool:
    """Return whether all arrays have one layout, in C order, and lie in memory of NumPy's: they can only be copied."""
    dtype, shape = items[0].dtype, items[0].shape
    for item in items:
        if item.shape != shape or item.dtype != dtype or not item.flags.c_contiguous:
            return False
        base = item.base
        if base is not None and (type(base) is not np.ndarray or base.base is not None):
            return False
    return True


def _fills_block(array: Array) -> bool:
    """Return whether an array has a block for itself in a message."""
    if array.base is None and array.flags.c_contiguous:
        return array.nbytes >= INLINE_BYTES
    return held_bytes(array) >= INLINE_BYTES and (type(array.base) is Anchor or not is_mapped(array))


@lru_cache(_LAYOUTS)
def _raw_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of equal small arrays; its own length stands in front."""
    head = marshal.dumps((dtype.str, shape))
    start = -(-(2 + len(head)) // _ALIGNMENT) * _ALIGNMENT
    return start.to_bytes(2, "little") + head.ljust(start - 2, b"\0")


@lru_cache(_LAYOUTS)
def _raw_layout(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of the arrays behind a header."""
    dtype, shape = marshal.loads(head[2:])
    return np.dtype(dtype), shape


def _encode_arrays(items: list[Array], sink: BlockSink) -> Encoded:
    anchors: list[Anchor] = []
    addresses = []
    for block, offset, placed in sink.place(items, [BARE] * len(items)):
        addresses.append((index_of(anchors, block), offset, placed.dtype.str, placed.shape, strides_of(placed)))
    return Encoded(ARRAYS, marshal.dumps(addresses), anchors)


def decode(kind: int, payload: Any, anchors: Sequence[Anchor], access: Access = Access.READ) -> list[Any]:
    """Return the items of a batch. Nothing that is returned refers to `payload`."""
    if kind == PICKLE:
        items: list[Any] = decode_object(payload, anchors, access)
        return items
    if kind == ARRAYS:
        return [
            accessed(anchors[index], view(anchors[index], offset, dtype, shape, strides), access)
            for index, offset, dtype, shape, strides in (marshal.loads(payload) if len(payload) else ())
        ]
    if kind == ROWS:
        name, shape, count, step = marshal.loads(payload)
        (block,), dtype = anchors, np.dtype(name)
        return [
            accessed(block, view(block, offset, dtype, shape, None), access) for offset in range(0, count * step, step)
        ]
    if kind == BYTES:
        return [bytes(payload)]
    if kind == APART:
        return [
            decode_object(part, [anchors[index] for index in indices], access)[0]
            for part, indices in marshal.loads(payload)
        ]
    data = bytearray(payload)
    start = int.from_bytes(data[:2], "little")
    return _decode_raw(data, start, *_raw_layout(bytes(data[:start])))


def _decode_raw(data: bytearray, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> list[Any]:
    entries = np.frombuffer(data, dtype, offset=start)
    if shape == entries.shape:
        return [entries]  # a single one
    rows = entries.reshape(-1, *shape)
    return list(rows) if shape else [rows[index : index + 1].reshape(()) for index in range(len(rows))]
