"""Pickles functions and classes of the user's script by value: cloudpickle with additions.

Functions of the script share their globals in a worker (`codec.main_globals`). Each global gets a mark, and a worker
compares marks to see whether the global has changed here.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import os
import pickle
import sys
import types
import typing
import weakref
from collections import ChainMap
from typing import Any, ClassVar, Final

import cloudpickle
import numpy as np

from pardata.codec.array_form import reduce_subclass
from pardata.codec.exits import EXITS, refuse_exit
from pardata.codec.main_globals import Captured, module_of, script_globals, set_function, set_module
from pardata.memory.array import find_anchor, find_named
from pardata.memory.mapped import file_address
from pardata.memory.shared_array import is_array, is_meant_shared
from pardata.modules.changes import changed
from pardata.modules.own import SCRIPTS, reach

_CACHED: Final = type(functools.lru_cache(len))
_COPIED: Final = {*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "cache_parameters"}  # by lru_cache itself
_PLAIN: Final = {int, float, complex, bool, str, bytes, type(None)}
_UNKNOWN: Final = b""
_SHORT_BYTES: Final = 64

# Below this an array is copied into the message. Measured: the copy costs as much as lease, release and mapping at
# about 16 KiB.
INLINE_BYTES: Final = 16 << 10

_serials: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_next_serial = itertools.count()


def is_script_in(stream: bytes) -> bool:
    """Return whether a pickle may name something of the script, under either of its names, or of its like."""
    return b"_main__" in stream or (reach.needles != () and any(needle in stream for needle in reach.needles))


def _reduce_text_file(file: io.TextIOWrapper) -> Any:
    """Refuse an open file, as pickle does; cloudpickle makes of one a copy in memory, which is no file any more."""
    if file is sys.stdout or file is sys.stderr:
        return cloudpickle.Pickler.dispatch_table[io.TextIOWrapper](file)
    raise TypeError(f"cannot pickle '{type(file).__module__}.{type(file).__qualname__}' object")


class _CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, without what it changes."""

    dispatch_table: ClassVar[Any] = ChainMap({io.TextIOWrapper: _reduce_text_file}, cloudpickle.Pickler.dispatch_table)


def dumps(value: object) -> bytes:
    """Pickle `value`; parts of it that belong to the script are pickled by value."""
    _take_spawned_by_value()
    file = io.BytesIO()
    try:
        _CloudPickler(file, 5).dump(value)
    except EXITS as error:
        refuse_exit(error, "pickling")
        raise
    return file.getvalue()


def _take_spawned_by_value() -> None:
    """Have cloudpickle take the script by value in a process that multiprocessing has spawned, where it has a name."""
    spawned = sys.modules.get(SCRIPTS[1])
    if spawned is not None and SCRIPTS[1] not in cloudpickle.list_registry_pickle_by_value():
        cloudpickle.register_pickle_by_value(spawned)


def _reduce_code(code: types.CodeType) -> tuple[Any, ...]:
    """As cloudpickle, but with the name of the user's file: tracebacks of a worker show it."""
    make, arguments = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return make, tuple(code.co_filename if part == "<dynamic-code>" else part for part in arguments)


class _Globals:
    """Stands for the script's globals in a pickle."""

    def __init__(self, basics: dict[str, Any]) -> None:
        self._basics = basics

    def __reduce__(self) -> tuple[Any, ...]:
        return script_globals, (self._basics,)


class ValuePickler(_CloudPickler):
    """cloudpickle, by which functions of the script share their globals, and cached ones travel as well."""

    dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _reduce_code}, _CloudPickler.dispatch_table)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, 5)
        _take_spawned_by_value()
        self._globals: dict[str, _Globals] = {}

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is _CACHED and not is_importable(obj):
            parameters = obj.cache_parameters()
            rest = {name: value for name, value in vars(obj).items() if name not in _COPIED}
            return _cached, (obj.__wrapped__, parameters["maxsize"], parameters["typed"]), rest or None
        if kind is typing.NewType and obj.__module__ in SCRIPTS:
            return typing.NewType, (obj.__name__, obj.__supertype__)
        if kind is types.FunctionType and "_clear_cache" in obj.__dict__ and not is_importable(obj):
            # `functools.singledispatch` has made it: its cache refers weakly to classes.
            return _new_dispatcher, (), (dict(obj.registry), obj.__dict__["__wrapped__"]), None, None, _fill_dispatcher
        if kind is types.ModuleType and obj.__name__ in reach.whole:
            return _reduce_module(obj)
        reduced = super().reducer_override(obj)
        if reduced is NotImplemented and (changed or reach.by_value) and goes_by_value(obj):
            if kind is types.FunctionType:
                reduced = self._dynamic_function_reduce(obj)
            elif issubclass(kind, type):
                return cloudpickle.cloudpickle._dynamic_class_reduce(obj)
        if kind is types.FunctionType and reduced is not NotImplemented and has_globals_there(obj):
            return self._reduce_function(obj, *reduced)
        return reduced

    def _reduce_function(
        self, function: Any, make: Any, args: Any, state: Any, items: None, pairs: None, setter: Any
    ) -> Any:
        code, basics, *rest = args
        name = function.__globals__["__name__"]
        shared = self._globals.setdefault(name, _Globals(basics))
        own, slots = state
        captured = {} if id(function) in changed else _captured(name, slots["__globals__"])
        state = setter, (own, {**slots, "__globals__": {}}), captured, os.getpid()
        return make, (code, shared, *rest), state, items, pairs, set_function


def _captured(module: str, values: dict[str, Any]) -> Captured:
    """Return globals of a module with their marks.

    What cannot be pickled is left out where it is not the script's: a worker may have its own.
    """
    found = {(module, name): marked(value) for name, value in values.items()}
    if module in SCRIPTS:
        return found
    return {key: entry for key, entry in found.items() if entry[0] != _UNKNOWN}


def _reduce_module(module: types.ModuleType) -> tuple[Any, ...]:
    """Return how a module travels that goes by value: with all that can be pickled."""
    names = {name: value for name, value in vars(module).items() if not name.startswith("__") or name == "__all__"}
    state = _captured(module.__name__, names), os.getpid()
    return module_of, (module.__name__,), state, None, None, set_module


def _cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _new_dispatcher() -> Any:
    return functools.singledispatch(_cached)  # any function: its state replaces it


def _fill_dispatcher(made: Any, state: tuple[dict[type, Any], Any]) -> None:
    registry, first = state
    for kind, function in registry.items():
        made.register(kind, function)
    functools.update_wrapper(made, first)


def goes_by_value(obj: Any) -> bool:
    """Return whether a function or class goes by value though it can be found under its name here."""
    return id(obj) in changed or str(getattr(obj, "__module__", None)) in reach.by_value


def is_importable(obj: Any) -> bool:
    """Return whether a worker finds a function or class under its name."""
    module = str(getattr(obj, "__module__", None))
    if module in SCRIPTS or module in reach.by_value or id(obj) in changed:
        return False
    registered = cloudpickle.list_registry_pickle_by_value()
    if registered and any(f"{module}.".startswith(f"{name}.") for name in registered):
        return False
    found = sys.modules.get(module)
    for name in getattr(obj, "__qualname__", "?").split("."):
        found = getattr(found, name, None)
    return found is obj


def serial(obj: Any) -> int:
    """Return a number that no other object of this process has had."""
    try:
        return _serials.setdefault(obj, next(_next_serial))
    except TypeError:  # it cannot be referred to weakly
        return -id(obj)


def marked(value: Any) -> tuple[bytes, Any, bool]:
    """Return a global with its mark, which is cheap to make for a simple value."""
    marker = _Marker()
    try:
        data = pickle.dumps(value, 5) if type(value) in _PLAIN else marker.look_at(value)
    except Exception:  # the pickle of the value itself raises the error
        return _UNKNOWN, value, True
    if len(data) > _SHORT_BYTES:
        data = hashlib.blake2b(data, digest_size=16).digest()
    return data, value, marker.has_large


def has_globals_there(function: types.FunctionType) -> bool:
    """Return whether a function that goes by value shares its globals with others in a worker."""
    name = function.__globals__.get("__name__")
    return name in SCRIPTS or name in reach.by_value or id(function) in changed


def _extras(function: types.FunctionType) -> dict[str, Any] | None:
    """Return the parts of a function besides its code and its globals."""
    found = {
        "closure": function.__closure__,
        "defaults": function.__defaults__,
        "keywords": function.__kwdefaults__,
        "own": function.__dict__,
    }
    return {name: value for name, value in found.items() if value} or None


def _never(serial: int, goes_by_value: bool = True) -> object:
    raise AssertionError("marks are compared, not unpickled")


class _Marker(_CloudPickler):
    """Makes marks.

    A function of the script is marked by its identity and the values it has captured (its globals have marks of their
    own), a class by its identity (its attributes come with each function), an array by its bytes, or by its place if it
    lies in shared memory.
    """

    def __init__(self) -> None:
        self._file = io.BytesIO()
        super().__init__(self._file, 5)
        self.has_large = False

    def look_at(self, value: Any) -> bytes:
        """Return the mark."""
        try:
            self.dump(value)
        except EXITS as error:
            refuse_exit(error, "pickling")
            raise
        return self._file.getvalue()

    def persistent_id(self, obj: Any) -> Any:
        if is_array(obj):
            return None if obj.dtype.hasobject else self._array(obj)
        if type(obj) is pickle.PickleBuffer:
            self.has_large = True
        elif str(type(obj).__module__).startswith("pardata."):
            return serial(obj)  # a handle: its pickle may be counted as one that is on its way
        return None

    def _array(self, array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
        is_frozen = not array.flags.writeable
        head = (array.dtype, array.shape, array.strides, is_frozen)
        if find_named(array) is not None:
            return (*head, array.__array_interface__["data"][0])
        address = None if array.base is None else file_address(array, True)
        if address is not None:
            return tuple(address)
        is_shared = find_anchor(array) is not None and is_meant_shared(array)
        self.has_large |= is_shared or (is_frozen and array.nbytes >= INLINE_BYTES)  # others are the worker's own
        if is_shared:
            return (*head, array.__array_interface__["data"][0])
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        return (*head, hashlib.blake2b(data, digest_size=16).digest())

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.FunctionType and has_globals_there(obj):
            return _never, (serial(obj),), _extras(obj)
        if kind is _CACHED:
            return _never, (serial(obj),), obj.__wrapped__
        if isinstance(obj, type):
            return _never, (serial(obj), goes_by_value(obj))
        if isinstance(obj, np.ndarray):
            return reduce_subclass(obj)
        return super().reducer_override(obj)
