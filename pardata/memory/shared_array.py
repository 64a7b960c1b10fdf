"""SharedArray: an ndarray in shared memory that pickles by its address."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pardata.memory import write_check
from pardata.memory.array import Anchor, NamedAnchor, find_anchor, find_named, is_adopted
from pardata.memory.data_pointer import data_pointer
from pardata.memory.exchange.addresses import open_address, send_address
from pardata.memory.exchange.exports import BlockAddress


def is_in_block(array: object) -> bool:
    """Return whether `array` lies in a block."""
    return find_named(array) is not None or find_anchor(array) is not None


def _ordinary_if_copied(found: Any) -> Any:
    return found.view(np.ndarray) if type(found) is SharedArray and not is_in_block(found) else found


def _ordinary(name: str) -> Any:
    """Return a method of ndarray whose result is an ordinary array if it is a copy."""
    method = getattr(np.ndarray, name)

    @functools.wraps(method)
    def call(self: SharedArray, *args: Any, **kwargs: Any) -> Any:
        return _ordinary_if_copied(method(self, *args, **kwargs))

    return call


class SharedArray(np.ndarray[Any, np.dtype[Any]]):
    """An ndarray in shared memory, made by `pardata.empty`, `zeros`, `array` or a `SharedMemoryManager`.

    It is used like any ndarray. Pickled - as an argument or a result of `multiprocessing`, `concurrent.futures` or
    joblib - it, its slices and its transposes travel as an address of a few hundred bytes: the receiver has the same
    memory, writable if the array was. Arithmetic, reductions, fancy indexing, `copy` and `astype` return ordinary
    arrays. The memory is free when the last view of it is gone, in all processes.

    Raises
    ------
    TypeError
        It is constructed directly: an array over memory of its own would not be shared.
    StaleBlockError
        In the process that unpickles it: its owner was killed, or has deleted the array before it was opened.

    Examples
    --------
    >>> import pickle
    >>> array = pardata.zeros((1000, 1000))  # 8 MB
    >>> data = pickle.dumps(array[:2])  # an argument of any pool
    >>> len(data) < 500, pickle.loads(data).shape
    (True, (2, 1000))
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> SharedArray:
        """Refuse: an array over memory of its own would not be shared."""
        raise TypeError("make a SharedArray by pardata.empty, pardata.zeros or pardata.array")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Return the result of arithmetic as an ordinary array, unless it was written into this one (``out=``)."""
        if array is self:
            return array
        if context is None and is_in_block(array):  # a view: squeeze
            return array.view(SharedArray)
        plain = array.view(np.ndarray)
        return plain[()] if return_scalar or (not plain.ndim and context is not None) else plain

    def __getitem__(self, index: Any) -> Any:
        """Return a slice as a SharedArray of the same memory, a copy (fancy indexing) as an ordinary array."""
        return _ordinary_if_copied(super().__getitem__(index))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Return copies that NumPy's functions would make of this type (`zeros_like`, `take`) as ordinary arrays."""
        return _ordinary_if_copied(super().__array_function__(func, types, args, kwargs))

    argpartition: Any = _ordinary("argpartition")
    argsort: Any = _ordinary("argsort")
    byteswap: Any = _ordinary("byteswap")
    choose: Any = _ordinary("choose")
    compress: Any = _ordinary("compress")
    dot: Any = _ordinary("dot")
    flatten: Any = _ordinary("flatten")
    ravel: Any = _ordinary("ravel")
    repeat: Any = _ordinary("repeat")
    reshape: Any = _ordinary("reshape")
    take: Any = _ordinary("take")

    def copy(self, order: Any = "C") -> Any:
        """Return an ordinary array with the same values, in memory of this process; `order` as of `numpy.copy`."""
        return self.view(np.ndarray).copy(order)

    def __copy__(self) -> Any:
        return self.copy("K")

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy("K")

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        """Return an ordinary array of another dtype; arguments as of `numpy.ndarray.astype`."""
        return self.view(np.ndarray).astype(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle by address; an array in no block (a copy that NumPy made of this type) as an ordinary array."""
        address = send_address(self)
        if address is None:
            return self.view(np.ndarray).__reduce_ex__(protocol)
        block, where = address
        offset = data_pointer(self) - data_pointer(block)
        strides = None if self.flags.c_contiguous else self.strides
        return _rebuild, (where, offset, self.dtype, self.shape, strides, self.flags.writeable)


def is_array(obj: object) -> bool:
    """Return whether `obj` is an array that can cross a channel as an address."""
    return type(obj) is np.ndarray or type(obj) is SharedArray


def shared_view(
    base: Anchor | NamedAnchor, offset: int, dtype: DTypeLike, shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> Any:
    """Return a SharedArray over the block, `offset` bytes behind its beginning; else as `array.view`."""
    return np.ndarray.__new__(SharedArray, shape, dtype, base, offset, strides)


def is_meant_shared(array: np.ndarray[Any, Any]) -> bool:
    """Return whether an array in shared memory is to be shared with functions that have captured it.

    Those of `pardata.empty` and its like are, those that were made ``with pardata.in_shared_memory()``, and those that
    nobody writes to. An ordinary array, as a result is, belongs to whoever has it.
    """
    return type(array) is SharedArray or not array.flags.writeable or is_adopted(find_anchor(array))


def _rebuild(
    where: str | BlockAddress,
    offset: int,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None,
    writeable: bool,
) -> Any:
    made = shared_view(open_address(where), offset, dtype, shape, strides)
    made.setflags(write=writeable)
    if writeable:
        write_check.note_writable(made)
    return made
