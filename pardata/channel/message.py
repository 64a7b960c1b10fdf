"""Object <-> payload bytes + the blocks that its arrays live in. No I/O.

Four encodings: `BYTES` (one item that is bytes: itself), `ARRAYS` (bare arrays that live in blocks: their addresses, by
marshal), `RAW` (equal small arrays: one header and their bytes), `PICKLE` (anything else: pickle protocol 5, in which
every array is a persistent id).
"""

from __future__ import annotations

import io
import marshal
import pickle
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

import numpy as np

from pardata.channel.by_value import INLINE_BYTES as INLINE_BYTES
from pardata.channel.by_value import ValuePickler, is_script_in
from pardata.channel.script import SCRIPTS, script
from pardata.memory.array import Anchor, find_anchor, find_named, view
from pardata.memory.shared_array import is_array

# More blocks than this in one message travel inside its payload.
MOST_BLOCKS: Final = 1000

PICKLE, ARRAYS, RAW, BYTES = 0, 1, 2, 3
_LAYOUTS: Final = 64  # dtypes and shapes of small arrays whose headers are remembered
_ALIGNMENT: Final = 16  # of the first small array within its message; a `bytes` object's contents are aligned so

Array = np.ndarray[Any, Any]


class Batch:
    """What crosses a channel: consecutive items of one domain.

    Attributes
    ----------
    domain : int
        Which numbering the items belong to (one per source; see `pipeline.plan`).
    number, count : int
        The item numbers ``number .. number + count - 1`` that this batch stands for.
    cell : int
        The token of the batch: a cell of its source's token table.
    items : list
        The items that are still there.
    positions : list of int, or None
        Where the items stand within ``range(count)``, modulo `count`; None if all are there. An empty batch is a
        tombstone.
    branches : list of int, or None
        Which of the sender's branches each item goes to; None: there are none. Does not cross the channel.
    """

    __slots__ = ("branches", "cell", "count", "domain", "items", "number", "positions")

    def __init__(
        self, domain: int, number: int, count: int, cell: int, items: list[Any], positions: list[int] | None = None
    ) -> None:
        self.domain = domain
        self.number = number
        self.count = count
        self.cell = cell
        self.items = items
        self.positions = positions
        self.branches: list[int] | None = None

    def with_items(self, items: list[Any], positions: list[int] | None) -> Batch:
        """Return a batch with the same numbers and other items."""
        return Batch(self.domain, self.number, self.count, self.cell, items, positions)

    def item_number(self, index: int) -> int:
        """Return the number of ``items[index]``."""
        return self.number + (index if self.positions is None else self.positions[index] % self.count)

    def select(self, branch: int) -> Batch:
        """Return the items of one branch."""
        assert self.branches is not None
        chosen = [index for index, other in enumerate(self.branches) if other == branch]
        positions = chosen if self.positions is None else [self.positions[index] for index in chosen]
        return self.with_items([self.items[index] for index in chosen], positions)

    def __repr__(self) -> str:
        return f"<Batch {self.domain}:{self.number}+{self.count}, {len(self.items)} items>"


class BlockSink(Protocol):
    """Where an encoder puts its arrays."""

    def place(self, arrays: list[Array], index: int, is_bare: bool) -> tuple[Anchor, int, Array]:
        """Return the block of ``arrays[index]``, the offset within it, and the array there (copied if need be).

        `is_bare`: it is an item itself, not a part of one, and nothing else of the project holds it.
        """


class Encoded:
    """A payload and the anchors of the blocks it refers to by index."""

    __slots__ = ("anchors", "kind", "payload")

    def __init__(self, kind: int, payload: bytes, anchors: list[Anchor]) -> None:
        self.kind = kind
        self.payload = payload
        self.anchors = anchors


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.num < 17 or dtype.char in "SUmMe"  # bool to complex256, or bytes, str, times, half: `str` says it all


def _index(anchors: list[Anchor], block: Anchor) -> int:
    for index, known in enumerate(anchors):
        if known is block:
            return index
    anchors.append(block)
    return len(anchors) - 1


def _strides(array: Array) -> tuple[int, ...] | None:
    return None if array.flags.c_contiguous else array.strides


class _TakeArrays:
    """Persistent ids: every array leaves the pickle stream; a large one is noted for a block."""

    arrays: list[Array]
    takes_shared = False  # also small ones that lie in shared memory: whoever writes to them is seen

    def persistent_id(self, obj: Any) -> Any:
        if is_array(obj):
            array, dtype = obj, obj.dtype
            if dtype.hasobject or find_named(obj) is not None:
                return None
            if array.nbytes < INLINE_BYTES and not (self.takes_shared and find_anchor(array) is not None):
                return (array.tobytes(), dtype, array.shape)
        elif type(obj) is pickle.PickleBuffer:
            array = np.frombuffer(obj.raw(), np.uint8)
            if array.nbytes < INLINE_BYTES:
                return None
        else:
            return None
        if len(self.arrays) >= MOST_BLOCKS:
            return (array.tobytes(), array.dtype, array.shape)
        self.arrays.append(array)
        return len(self.arrays) - 1


class _Pickler(_TakeArrays, pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        pickle.Pickler.__init__(self, file, 5)
        self.arrays = []


class _CloudPickler(_TakeArrays, ValuePickler):
    takes_shared = True

    def __init__(self, file: io.BytesIO) -> None:
        ValuePickler.__init__(self, file)
        self.arrays = []


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, arrays: list[Array], inplace: bool) -> None:
        super().__init__(file)
        self.arrays, self.inplace = arrays, inplace

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, int):
            return self.arrays[pid]
        data, dtype, shape = pid
        array = np.frombuffer(data, dtype).reshape(shape) if data else np.empty(shape, dtype)
        return array.copy() if self.inplace else array

    def find_class(self, module: str, name: str, /) -> Any:
        known = script() if module in SCRIPTS else None
        return super().find_class(module, name) if known is None else known.find(name)


def _pickled(pickler: type[_Pickler] | type[_CloudPickler], obj: Any) -> tuple[bytes, list[Array]]:
    file = io.BytesIO()
    made = pickler(file)
    made.dump(obj)
    return file.getvalue(), made.arrays


def _with_blocks(stream: bytes, arrays: list[Array], sink: BlockSink) -> Encoded:
    """Put the arrays of a pickle stream into blocks; their addresses stand before the stream."""
    anchors: list[Anchor] = []
    addresses = []
    for index in range(len(arrays)):
        block, offset, placed = sink.place(arrays, index, False)
        addresses.append((_index(anchors, block), offset, placed.dtype, placed.shape, _strides(placed)))
    head = pickle.dumps(addresses, 5) if addresses else b""
    return Encoded(PICKLE, len(head).to_bytes(4, "little") + head + stream, anchors)


def encode_code(obj: Any, sink: BlockSink) -> Encoded:
    """Encode functions and classes by value where they cannot be imported; captured arrays leave as blocks."""
    return _with_blocks(*_pickled(_CloudPickler, obj), sink)


def encode_pickle(obj: Any, sink: BlockSink) -> Encoded:
    """Encode any object. What belongs to the script is taken by value: no other process has that module."""
    try:
        stream, arrays = _pickled(_Pickler, obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        return encode_code(obj, sink)
    return encode_code(obj, sink) if is_script_in(stream) else _with_blocks(stream, arrays, sink)


def encode(items: list[Any], sink: BlockSink) -> Encoded:
    """Encode the items of a batch."""
    if len(items) == 1 and type(items[0]) is bytes:
        return Encoded(BYTES, items[0], [])
    if not items:
        return Encoded(ARRAYS, b"", [])
    for item in items:
        if not is_array(item) or not item.nbytes or not _is_plain(item.dtype):
            return encode_pickle(items, sink)
    del item  # a sink counts who holds an item
    if items[0].nbytes >= INLINE_BYTES:
        return _encode_arrays(items, sink)
    dtype, shape = items[0].dtype, items[0].shape
    if len(items) > 1 and any(item.shape != shape or item.dtype != dtype for item in items):
        return encode_pickle(items, sink)
    return Encoded(RAW, b"".join([_raw_head(dtype, shape), *[item.tobytes() for item in items]]), [])


@lru_cache(_LAYOUTS)
def _raw_head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of equal small arrays; its own length stands in front."""
    head = marshal.dumps((dtype.str, shape))
    start = -(-(2 + len(head)) // _ALIGNMENT) * _ALIGNMENT
    return start.to_bytes(2, "little") + head.ljust(start - 2, b"\0")


@lru_cache(_LAYOUTS)
def _raw_layout(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and shape of what follows a header."""
    dtype, shape = marshal.loads(head[2:])
    return np.dtype(dtype), shape


def _encode_arrays(items: list[Array], sink: BlockSink) -> Encoded:
    if len(items) > MOST_BLOCKS or any(item.nbytes < INLINE_BYTES for item in items):
        return encode_pickle(items, sink)
    anchors: list[Anchor] = []
    addresses = []
    for index in range(len(items)):
        block, offset, placed = sink.place(items, index, True)
        addresses.append((_index(anchors, block), offset, placed.dtype.str, placed.shape, _strides(placed)))
    return Encoded(ARRAYS, marshal.dumps(addresses), anchors)


def _writable(block: Anchor, array: Array, inplace: bool) -> Array:
    """Return `array` as its reader may have it: read-only, or writable if it asked and nobody else reads the block."""
    if not inplace:
        array.setflags(write=False)
        return array
    return array.copy(order="K") if block.shared else array


def decode_object(payload: Any, anchors: Sequence[Anchor], inplace: bool = False) -> Any:
    """Return the object of a `PICKLE` payload; its arrays are views of the blocks."""
    file = io.BytesIO(payload)
    length = int.from_bytes(file.read(4), "little")
    addresses = pickle.loads(file.read(length)) if length else ()
    arrays = [
        _writable(anchors[index], view(anchors[index], offset, dtype, shape, strides), inplace)
        for index, offset, dtype, shape, strides in addresses
    ]
    return _Unpickler(file, arrays, inplace).load()


def decode(kind: int, payload: Any, anchors: Sequence[Anchor], inplace: bool = False) -> list[Any]:
    """Return the items of a batch. Nothing that is returned refers to `payload`."""
    if kind == PICKLE:
        items: list[Any] = decode_object(payload, anchors, inplace)
        return items
    if kind == ARRAYS:
        return [
            _writable(anchors[index], view(anchors[index], offset, dtype, shape, strides), inplace)
            for index, offset, dtype, shape, strides in (marshal.loads(payload) if len(payload) else ())
        ]
    data = bytes(payload)
    if kind == BYTES:
        return [data]
    start = int.from_bytes(data[:2], "little")
    return _decode_raw(data, start, *_raw_layout(data[:start]), inplace)


def _decode_raw(data: bytes, start: int, dtype: np.dtype[Any], shape: tuple[int, ...], inplace: bool) -> list[Any]:
    buffer: bytes | bytearray = bytearray(data) if inplace else data
    entries = np.frombuffer(buffer, dtype, offset=start)
    if shape == entries.shape:
        return [entries]  # a single one
    rows = entries.reshape(-1, *shape)
    return list(rows) if shape else [rows[index : index + 1].reshape(()) for index in range(len(rows))]
