"""Object <-> pickle stream and the arrays that have left it.

Each array is a persistent id in the stream: the number of its block, its bytes, or where it lies in a file. An array
that is met again is the same number again, so it is sent once and is one object on the other side: persistent ids
bypass pickle's own memo.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Final

import numpy as np

from pardata.codec.access import Access, bare_arrays
from pardata.codec.array_form import reduce_subclass
from pardata.codec.arrow_form import reduce_part
from pardata.codec.by_value import INLINE_BYTES, ValuePickler
from pardata.codec.main_globals import script
from pardata.memory.array import Anchor, find_anchor, find_named
from pardata.memory.layout import ArrayLayout, bytes_of, is_overlapping, layout_of
from pardata.memory.mapped import FileAddress, file_address
from pardata.memory.shared_array import SharedArray, is_meant_shared
from pardata.modules.own import SCRIPTS

# The most blocks of one message; the contents of further arrays travel inside its payload.
MOST_BLOCKS: Final = 1000
_OBJECTS: Final = np.dtype(object).num  # numbers are below it

Array = np.ndarray[Any, Any]


def _is_of_array(base: Any) -> bool:
    """Return whether `base`, of which an array is a view, is an ordinary array with memory of its own."""
    return type(base) is np.ndarray and base.base is None


class _TakeArrays:
    """Persistent ids: every array leaves the pickle stream; a large one is noted for a block."""

    has_repeats = False
    # What is pickled is a function and its state, not an item: of that, small arrays that lie in shared memory leave as
    # well, as readers are to see later writes.
    is_state = False

    def __init__(self, is_lasting: bool) -> None:
        self.arrays: list[Array] = []
        self._has_objects = False  # other than plain containers, arrays and simple values
        self._plain: dict[int, set[int]] = {}  # by id of an array of a subclass: of the plain arrays in its place
        self._sealed: set[int] = set()  # ids of arrays over read-only buffers of objects: nobody writes to these
        self._is_lasting = is_lasting  # see `memory.mapped.file_address`
        self._others: list[Any] = []  # arrays in the message itself; kept, so that no other object gets their ids
        self._numbers: dict[int, int] = {}  # by id: in `arrays`, or counted from -1 downwards in `_others`

    def persistent_id(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is np.ndarray or kind is SharedArray:
            known = self._numbers.get(id(obj))
            if known is not None:
                self.has_repeats = True
                return known
            base, dtype = obj.base, obj.dtype
            if not (
                (base is None or type(base) is Anchor or _is_of_array(base))
                and dtype.num < _OBJECTS
                and dtype.metadata is None
                and obj.flags.c_contiguous
            ):  # unlike most
                return self._take(obj)
            if obj.nbytes < INLINE_BYTES or len(self.arrays) >= MOST_BLOCKS:
                self._others.append(obj)
                self._numbers[id(obj)] = -len(self._others)
                return (obj.tobytes(), dtype, obj.shape)
            self._numbers[id(obj)] = number = len(self.arrays)
            self.arrays.append(obj)
            return number
        if kind is pickle.PickleBuffer:
            array = np.frombuffer(obj.raw(), np.uint8)
            if array.nbytes < INLINE_BYTES:
                return None
            if not array.flags.writeable:
                self._sealed.add(id(array))
            return self._take(array)
        return None

    def private(self, obj: Any) -> list[bool]:
        """Return for each array in `arrays` whether it is the reader's own; `obj` is what was pickled.

        Of the state of a function those are that somebody may write to, but for the ones in shared memory.
        """
        if self.is_state:
            return [array.flags.writeable and not is_meant_shared(array) for array in self.arrays]
        if not self._has_objects or not self.arrays:
            return [False] * len(self.arrays)
        bare = bare_arrays(obj, self._plain) | self._sealed
        return [id(array) not in bare for array in self.arrays]

    def parts(self) -> list[int]:
        """Return which of `arrays` are the memory of arrays of subclasses."""
        if not self._plain:
            return []
        parts = set().union(*self._plain.values())
        return [index for index, array in enumerate(self.arrays) if id(array) in parts]

    def _reduced(self, array: Any) -> Any:
        reduced = reduce_subclass(array)
        if reduced is not NotImplemented:
            self._plain[id(array)] = {id(part) for part in reduced[1] if type(part) is np.ndarray}
        return reduced

    def _take(self, array: Array) -> Any:
        if array.dtype.hasobject:
            return None
        if array.base is not None:
            if find_named(array) is not None:
                return None
            address = file_address(array, self._is_lasting)
            if address is not None:
                return self._in_message(array, tuple(address))
        layout = layout_of(array)
        stays = self.is_state and is_meant_shared(array) and find_anchor(array) is not None
        if layout.nbytes < INLINE_BYTES and not stays:
            return self._inline(array, layout)
        if len(self.arrays) >= MOST_BLOCKS:
            return self._inline(array, layout)
        self._numbers[id(array)] = len(self.arrays)
        self.arrays.append(array)
        return len(self.arrays) - 1

    def _inline(self, array: Array, layout: ArrayLayout) -> Any:
        dtype: Any = array.dtype
        if dtype.metadata is not None:  # it may hold arrays of its own, which are not to be numbered before this one
            dtype = pickle.dumps(dtype, 5)
        pid: tuple[Any, ...] = bytes_of(array, layout), dtype, array.shape
        if self.is_state and not array.flags.writeable:
            pid = (*pid, layout.strides, layout.offset, False)
        elif layout.strides is not None:
            pid = (*pid, layout.strides, layout.offset)
        return self._in_message(array, pid)

    def _in_message(self, array: Array, pid: Any) -> Any:
        self._others.append(array)
        self._numbers[id(array)] = -len(self._others)
        return pid


class ArrayPickler(_TakeArrays, pickle.Pickler):
    """pickle, without the arrays."""

    def __init__(self, file: io.BytesIO, is_lasting: bool) -> None:
        pickle.Pickler.__init__(self, file, 5)
        _TakeArrays.__init__(self, is_lasting)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            return self._reduced(obj)
        self._has_objects = True
        return reduce_part(obj)


class CodePickler(_TakeArrays, ValuePickler):
    """cloudpickle, without the arrays."""

    def __init__(self, file: io.BytesIO, is_lasting: bool) -> None:
        ValuePickler.__init__(self, file)
        _TakeArrays.__init__(self, is_lasting)

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.ndarray):
            return self._reduced(obj)
        self._has_objects = True
        reduced = reduce_part(obj)
        return super().reducer_override(obj) if reduced is NotImplemented else reduced


class StatePickler(CodePickler):
    """`CodePickler` for functions and their state, of which a frozen array stays frozen."""

    is_state = True

    def persistent_id(self, obj: Any) -> Any:
        is_new = (type(obj) is np.ndarray or type(obj) is SharedArray) and id(obj) not in self._numbers
        return self._take(obj) if is_new else super().persistent_id(obj)


def pickle_by_value_as(kind: type, reduce: Any) -> None:
    """Have functions and their state take objects of exactly this class along as `reduce` says (as in `copyreg`).

    It is for classes of libraries that need not be installed, where their own way would copy large arrays.
    """
    ValuePickler.dispatch_table[kind] = reduce


class BringArrays:
    """Brings the arrays back, for an unpickler."""

    def __init__(self, file: io.BytesIO, arrays: list[Array], access: Access) -> None:
        super().__init__(file)  # type: ignore[call-arg]
        self._arrays, self._access = arrays, access
        self._others: list[Array] = []

    def persistent_load(self, pid: Any) -> Any:
        if type(pid) is int:
            return self._arrays[pid] if pid >= 0 else self._others[-1 - pid]
        made = self._inlined(*pid) if type(pid[0]) is bytes else self._in_file(FileAddress(*pid))
        self._others.append(made)
        return made

    def _inlined(
        self,
        data: bytes,
        dtype: Any,
        shape: tuple[int, ...],
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
        is_writable: bool = True,
    ) -> Array:
        if type(dtype) is bytes:
            dtype = pickle.loads(dtype)
        if not data:
            array = np.empty(shape, dtype)
        elif strides is None:
            array = np.frombuffer(bytearray(data), dtype).reshape(shape)
        else:
            array = np.ndarray(shape, dtype, bytearray(data), offset, strides)
        if not is_writable or (strides is not None and is_overlapping(array)):
            array.setflags(write=False)
        return array

    def _in_file(self, address: FileAddress) -> Array:
        array = address.open()
        return array.copy(order="K") if self._access is Access.INPLACE else array

    def find_class(self, module: str, name: str, /) -> Any:
        known = script() if module in SCRIPTS else None
        return super().find_class(module, name) if known is None else known.find(name)  # type: ignore[misc]


class ArrayUnpickler(BringArrays, pickle.Unpickler):
    """The unpickler for the streams of `ArrayPickler` and `CodePickler`."""
