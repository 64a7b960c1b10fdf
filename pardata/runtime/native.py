"""Arrays of another byte order, anywhere in an object, converted to the machine's: ``native=True``."""

from __future__ import annotations

import io
import pickle
import types
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

import numpy as np

from pardata.memory.byte_order import ConversionError, NewArray, is_native, native_array
from pardata.memory.shared_heap import result_array
from pardata.runtime.isolation import IMMUTABLE, TakenUnpickler

_CONTAINERS: Final = (list, tuple, dict)
_BY_REFERENCE: Final = (type, types.FunctionType, types.ModuleType)


class _NativePickler(pickle.Pickler):
    """Takes arrays, records, functions, classes and modules out of the stream, the former converted."""

    def __init__(self, file: io.BytesIO, new: NewArray) -> None:
        super().__init__(file, 5)
        self._new = new
        self.taken: list[Any] = []
        self.has_converted = False
        self._numbers: dict[int, int] = {}
        self._met: list[Any] = []  # kept, so that no other object gets the id of one

    def persistent_id(self, obj: Any) -> int | None:
        if not isinstance(obj, (np.ndarray, np.void, *_BY_REFERENCE)):
            return None
        if id(obj) not in self._numbers:
            made = _converted(obj, self._new)
            if made is obj and isinstance(obj, np.ndarray) and obj.dtype.hasobject:
                return None  # its objects are looked at
            self._numbers[id(obj)] = len(self.taken)
            self._met.append(obj)
            self.taken.append(made)
            self.has_converted |= made is not obj
        return self._numbers[id(obj)]


def _converted(obj: Any, new: NewArray) -> Any:
    """Return an array or a record in the machine's order; anything else as it is."""
    if isinstance(obj, np.ndarray):
        return native_array(obj, new)
    if isinstance(obj, np.void) and not is_native(obj.dtype):
        return native_array(np.asarray(obj))[()]
    return obj


def as_native(obj: Any, new: NewArray = np.empty) -> Any:
    """Return an object with all arrays in it, at any depth, in the machine's byte order; itself if they are.

    An object in which an array is converted is copied, as its pickle says. In one that cannot be pickled nothing is
    converted; of a container the other parts are. `new` makes converted arrays (`memory.byte_order.native_array`).
    """
    if type(obj) in IMMUTABLE:
        return obj
    if isinstance(obj, np.ndarray | np.void) and not obj.dtype.hasobject:
        return _converted(obj, new)
    file = io.BytesIO()
    pickler = _NativePickler(file, new)
    try:
        pickler.dump(obj)
        file.seek(0)
        return TakenUnpickler(file, pickler.taken).load() if pickler.has_converted else obj
    except (ConversionError, MemoryError):
        raise
    except Exception:
        return _parts_converted(obj, new) if type(obj) in _CONTAINERS else obj


def _parts_converted(obj: Any, new: NewArray) -> Any:
    parts = list(obj.values() if type(obj) is dict else obj)
    try:
        made = [as_native(part, new) for part in parts]
    except RecursionError:  # it contains itself
        return obj
    if all(one is other for one, other in zip(parts, made, strict=True)):
        return obj
    return dict(zip(obj, made, strict=True)) if type(obj) is dict else type(obj)(made)


def native_items(make: Callable[[], Iterable[Any]]) -> Generator[Any, None, None]:
    """Yield the items of the iterable that `make` returns, converted; closes it if it is a generator.

    In a worker large arrays are converted into memory from where they are sent without a copy.
    """
    items = make()
    try:
        for item in items:
            yield as_native(item, result_array)
    finally:
        if isinstance(items, types.GeneratorType):
            items.close()
