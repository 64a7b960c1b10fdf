"""Objects to frames and back: pickle protocol 5, with large buffers beside the stream.

The frames are made and read by home and by islands, never by the engine's own communication: it carries bytes. Arrays
go by value, also those in shared memory and in mapped files: another machine has neither. What is nothing but an
address on this machine is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar, Final

import cloudpickle
import numpy as np

from pardata.cluster.port import Frames
from pardata.codec.by_value import INLINE_BYTES, ValuePickler, is_script_in
from pardata.errors import SerializationError
from pardata.memory.array import find_anchor, view
from pardata.memory.born.library import LEAST_BORN_BYTES
from pardata.memory.data_pointer import data_pointer
from pardata.memory.shared_array import SharedArray

Array = np.ndarray[Any, Any]

# By the module and the name of a class: what can be sent in place of one.
_LOCAL: Final = {
    ("pardata.memory.named.block", "SharedMemory"): "send the array in it, which goes by value",
    ("pardata.memory.named.shareable_list", "ShareableList"): "send list(...) of it",
    ("pardata.memory.named.manager", "SharedMemoryManager"): "send arrays, which go by value",
    ("pardata.lookup.table", "Table"): "serve it, pardata.serve(table), and send a pardata.Service",
    ("pardata.lookup.database", "Database"): "serve it, pardata.serve(database), and send a pardata.Service",
    ("pardata.queue.queue", "Queue"): 'return what is put, or keep the stage at home: on="home"',
    ("pardata.queue.joinable", "JoinableQueue"): 'return what is put, or keep the stage at home: on="home"',
}


class LocalOnly(SerializationError):
    """An object is an address on this machine."""


class _Aside:
    """Takes large buffers out of the stream, and arrays as ordinary ones."""

    def __init__(self) -> None:
        self.buffers: list[Any] = []

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer aside; return whether it stays in the stream."""
        flat = np.frombuffer(buffer.raw(), np.uint8)
        if flat.nbytes < INLINE_BYTES:
            return True
        self.buffers.append(flat)
        return False


def _reduced(obj: Any) -> Any:
    """Return the reduced value of what does not go as it is."""
    kind = type(obj)
    if kind is np.ndarray:
        is_plain = obj.nbytes < LEAST_BORN_BYTES and (obj.flags.forc or obj.dtype.isnative)
        return NotImplemented if is_plain else _reduced_array(obj)
    if kind is SharedArray or kind is np.memmap:
        return _reduced_array(np.ndarray.view(obj, np.ndarray))
    if kind.__module__.startswith("pardata."):
        way = next((way for base in kind.__mro__ if (way := _LOCAL.get((base.__module__, base.__qualname__)))), None)
        if way is not None:
            raise LocalOnly(f"{obj!r} is an address on this machine, and other nodes cannot open it: {way}")
    return NotImplemented


def _reduced_array(array: Array) -> Any:
    """Return the reduced value of an array: what is large may arrive in a block, and then it is an array over that."""
    if not array.flags.forc and not array.dtype.hasobject:
        array = np.ascontiguousarray(array)  # NumPy's own pickle of a part arrives in the byte order of the machine
    if array.nbytes < LEAST_BORN_BYTES or array.dtype.hasobject:
        return array.__reduce_ex__(5)
    flat: Any = array.reshape(-1, order="A").view(np.uint8)
    return _arrived, (pickle.PickleBuffer(flat), array.dtype, array.shape, array.strides, array.flags.writeable)


def _arrived(buffer: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], is_writable: bool) -> Any:
    """Return an array over a buffer that has arrived. Without a base but its block, it can be handed on as its own."""
    flat = np.frombuffer(buffer, np.uint8)
    block = find_anchor(flat)
    if block is None:
        made = np.ndarray(shape, dtype, flat, 0, strides)
    else:
        made = view(block, data_pointer(flat) - data_pointer(block), dtype, shape, strides)
    if not is_writable:
        made.setflags(write=False)
    return made


class _ItemPickler(pickle.Pickler):
    """pickle, for most items."""

    def reducer_override(self, obj: Any) -> Any:
        return _reduced(obj)


class _FunctionPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, for functions, and for what belongs to the script."""

    dispatch_table: ClassVar[Any] = ValuePickler.dispatch_table  # names of files are kept, open files are refused

    def reducer_override(self, obj: Any) -> Any:
        reduced = _reduced(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


def encode(obj: Any) -> Frames:
    """Return the frames of an object. They refer to its arrays, which are not to be changed meanwhile.

    Raises
    ------
    LocalOnly
        A part of it cannot be opened on another machine.
    Exception
        A part of it cannot be pickled.
    """
    try:
        frames = _pickled(_ItemPickler, obj)
    except (pickle.PicklingError, AttributeError, TypeError):
        return _pickled(_FunctionPickler, obj)
    return _pickled(_FunctionPickler, obj) if is_script_in(frames[0]) else frames


def _pickled(kind: Any, obj: Any) -> Frames:
    file, aside = io.BytesIO(), _Aside()
    kind(file, 5, buffer_callback=aside.take).dump(obj)
    return [file.getvalue(), *aside.buffers]


def decode(frames: Frames) -> Any:
    """Return the object of frames. Its large arrays lie in them."""
    head, *buffers = frames
    return pickle.loads(head, buffers=buffers)


def count_bytes(frames: Frames) -> int:
    """Return how many bytes frames have together."""
    return sum(len(frame) if isinstance(frame, bytes) else int(frame.nbytes) for frame in frames)
