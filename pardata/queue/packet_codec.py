"""Any object <-> one packet of a queue; arrays go by address.

      pickle, protocol 5 (begins with 0x80), the sender  |  0, length of the header / 16, marshal of dtype and shape,
                                                         |  the numbers

A large ndarray is copied once, into memory of the sender; a SharedArray goes as it is; a pickle that is larger than a
packet goes into such memory as well, and the packet has its address.
"""

from __future__ import annotations

import io
import marshal
import os
import pickle
import pickletools
from functools import lru_cache
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final

import numpy as np

from pardata.codec.array_form import reduce_subclass
from pardata.codec.by_value import INLINE_BYTES
from pardata.codec.exits import EXITS_AND_DEPTH, may_be_ctrl_c, refuse_exit
from pardata.codec.loadable import load_parts
from pardata.codec.object_codec import is_plain_dtype
from pardata.codec.unpicklable import explain_unpicklable
from pardata.errors import PardataError, SerializationError
from pardata.memory.exchange.addresses import open_address, opened_addresses, opened_again
from pardata.memory.exchange.exports import BlockAddress
from pardata.memory.shared_array import SharedArray
from pardata.memory.shared_heap import shared_copy, shared_heap
from pardata.queue.packet_pipe import PACKET_BYTES

_MOST_PLAIN_BYTES: Final = PACKET_BYTES - 1024  # of an array beside its header: 64 axes need 331 bytes, a dtype few
_PID_BYTES: Final = 4
_LAYOUTS: Final = 64  # dtypes and shapes of small arrays that are remembered


def _as_ndarray(array: SharedArray) -> np.ndarray[Any, Any]:
    return array.view(np.ndarray)


def _is_lazy(tensor: Any) -> bool:
    """Return whether a tensor of torch is conjugated or negated when it is read.

    What torch has registered with multiprocessing sends the memory alone: the other process would read other numbers.
    """
    return bool(tensor.is_conj() or tensor.is_neg())


def _load(data: Any) -> Any:
    before = opened_addresses()
    try:
        return pickle.loads(data)
    except BaseException as error:
        if not may_be_ctrl_c(error):  # the sender would wait for somebody to receive the arrays behind
            with opened_again(opened_addresses() - before):
                load_parts(data)
        raise


class _Stream:
    """Stands in a packet for the object whose pickle lies in a block."""

    def __init__(self, stream: SharedArray) -> None:
        self.stream = stream

    def __reduce__(self) -> Any:
        return _Stream, (self.stream,)


class _PacketPickler(ForkingPickler):
    """As multiprocessing pickles, with the arrays by address."""

    def __init__(self, file: io.BytesIO, sent: list[BlockAddress]) -> None:
        super().__init__(file, 5)
        self.sent = sent

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is SharedArray:
            reduced: Any = obj.__reduce_ex__(5)
            if isinstance(reduced[1][0], BlockAddress):
                self.sent.append(reduced[1][0])
            return reduced
        if not isinstance(obj, np.ndarray):
            return obj.__reduce_ex__(5) if hasattr(type(obj), "resolve_conj") and _is_lazy(obj) else NotImplemented
        if type(obj) is not np.ndarray or obj.dtype.hasobject:
            return reduce_subclass(obj)
        if obj.nbytes >= INLINE_BYTES or not (obj.flags.c_contiguous or obj.flags.f_contiguous):
            return _as_ndarray, (shared_copy(shared_heap().arena, obj),)
        return NotImplemented


def pack(obj: Any) -> tuple[bytes, list[BlockAddress]]:
    """Return a packet and the addresses in it, which are on their way from now on. If it raises, none of them is.

    Raises `SerializationError`, which names the part that cannot be pickled.
    """
    if (
        type(obj) is np.ndarray
        and obj.nbytes < _MOST_PLAIN_BYTES
        and obj.flags.c_contiguous
        and is_plain_dtype(obj.dtype)
    ):
        return _head(obj.dtype, obj.shape) + obj.tobytes(), []
    sent: list[BlockAddress] = []
    try:
        stream = _pickled(obj, sent)
        if len(stream) > PACKET_BYTES - _PID_BYTES:
            stream = _pickled(_Stream(shared_copy(shared_heap().arena, np.frombuffer(stream, np.uint8))), sent)
    except BaseException as error:
        for address in sent:
            open_address(address)  # received by ourselves
        if isinstance(error, Exception) and not isinstance(error, MemoryError | OSError | PardataError):
            told = f"the object cannot be put into a queue: {explain_unpicklable(obj)} ({error})"
            raise SerializationError(told) from error
        raise
    return stream + os.getpid().to_bytes(_PID_BYTES, "little"), sent


def _pickled(obj: Any, sent: list[BlockAddress]) -> bytes:
    file = io.BytesIO()
    _PacketPickler(file, sent).dump(obj)
    return file.getvalue()


def unpack(packet: bytes) -> Any:
    """Return the object of a packet. Bytes behind the end of its pickle, or of its numbers, are ignored.

    Raises `SerializationError`, which names the process that has put it, if it cannot be loaded.
    """
    if packet[0]:
        try:
            made = _load(packet)
            return _load(made.stream.data) if type(made) is _Stream else made
        except EXITS_AND_DEPTH as error:
            refuse_exit(error, "unpickling")
            raise
        except (MemoryError, OSError, PardataError):
            raise
        except Exception as error:
            raise SerializationError(
                f"an object that process {_sender_of(packet)} has put into the queue cannot be loaded in another one: "
                f"it pickles, but unpickling it raised {type(error).__name__}: {error}"
            ) from error
    start = 16 * packet[1]
    dtype, shape = _layout(packet[:start])
    return np.ndarray(shape, dtype, packet, start).copy()


def _sender_of(packet: bytes) -> int:
    (end,) = (place for code, _, place in pickletools.genops(packet) if code.name == "STOP" and place is not None)
    return int.from_bytes(packet[end + 1 : end + 1 + _PID_BYTES], "little")


@lru_cache(_LAYOUTS)
def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands in front of the numbers of a small array."""
    text = marshal.dumps((dtype.str, shape))
    length = -(-(2 + len(text)) // 16)
    return (bytes((0, length)) + text).ljust(16 * length, b"\0")


@lru_cache(_LAYOUTS)
def _layout(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    dtype, shape = marshal.loads(head[2:])
    return np.dtype(dtype), shape
