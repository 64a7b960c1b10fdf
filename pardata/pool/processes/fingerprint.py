"""The fingerprint of a function or a partial: it tells a pool that the function need not be pickled once more.

A function that no worker can import travels by value, with the globals that it uses (`codec.by_value`), and any of
that may have changed since the last call. To look is several times as fast as to pickle. Immutable parts are
compared by identity, an array by its bytes: a large one is compared with its copy in shared memory. Of anything else -
a list, an instance, a class of the script - only a pickle can tell.
"""

from __future__ import annotations

import functools
import operator
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

import cloudpickle
import numpy as np

from pardata.codec.by_value import INLINE_BYTES, is_importable, serial
from pardata.memory.array import find_anchor, find_named
from pardata.memory.shared_array import is_array, is_meant_shared
from pardata.modules.names import names_in
from pardata.modules.own import SCRIPTS, reach
from pardata.runtime.captured_arrays import CapturedArrays

Array = np.ndarray[Any, Any]

_LONGEST: Final = 1 << 10  # of a str or bytes: a fingerprint keeps its parts
_NUMBERS: Final = {int, float, complex, bool, type(None), type(...), range}
_BASICS: Final = ("__package__", "__name__", "__path__", "__file__")  # of the globals, that every function takes along
_ABSENT: Final = object()


class _ChangeableError(Exception):
    """Something may change, and a look would not tell."""


class Fingerprint:
    """The parts of a function or a `functools.partial` at one time.

    Raises
    ------
    ValueError
        A look does not tell whether a part has changed.
    """

    __slots__ = ("_arrays", "_copies", "_functions", "_modules", "_parts", "_values")

    def __init__(self, fn: Any) -> None:
        if not cloudpickle.list_registry_pickle_by_value() <= set(SCRIPTS):
            raise ValueError("modules that were registered by the user travel by value as well")
        self._modules = len(sys.modules)  # which submodules are taken along depends on which are there
        # Each part is in one of three lists. Its type stands in `_values`, so that list tells the order of all.
        self._parts: list[object] = []  # compared by identity
        self._values: list[object] = []  # compared by value
        self._arrays: list[Any] = []  # large ones; weak references to them from `keep` on
        self._copies: list[weakref.ref[Array] | None] = []
        self._functions: set[int] = set()
        try:
            if type(fn) is functools.partial:
                self._add_partial(fn)
            else:
                self._add_function(fn)
        except (_ChangeableError, NameError, AttributeError) as error:  # an annotation may be evaluated here
            raise ValueError("it has parts that may change") from error

    def keep(self, copies: CapturedArrays, gone: Callable[[object], None]) -> bool:
        """Let go of the arrays themselves, to be compared with their `copies` later. Return False if one has none.

        One that lives in shared memory needs none: workers see its changes. `gone` is called when one is no more.
        """
        for array in self._arrays:
            if _is_shared(array):
                self._copies.append(None)
                continue
            copy = copies.find(array)
            if copy is None:
                return False
            self._copies.append(weakref.ref(copy))
        self._arrays = [weakref.ref(array, gone) for array in self._arrays]
        return True

    def is_same(self, now: Fingerprint, copies: CapturedArrays) -> bool:
        """Return whether nothing has changed since these parts were kept."""
        return (
            self._modules == now._modules
            and len(self._parts) == len(now._parts)
            and all(map(operator.is_, self._parts, now._parts))
            and self._values == now._values
            and all(
                kept() is array and (copy is None or copies.find(array) is copy())
                for kept, array, copy in zip(self._arrays, now._arrays, self._copies, strict=True)
            )
        )

    def _add(self, value: Any) -> None:
        kind = type(value)
        self._values.append(kind)
        if kind in _NUMBERS or ((kind is str or kind is bytes) and len(value) <= _LONGEST) or value is _ABSENT:
            self._parts.append(value)
        elif kind is tuple:
            self._values.append(len(value))
            for part in value:
                self._add(part)
        elif kind is types.ModuleType:
            self._add_module(value)
        elif kind is types.GenericAlias:
            self._add((value.__origin__, *value.__args__))
        elif kind is types.UnionType:
            self._add(value.__args__)
        elif isinstance(value, np.number | np.bool_):
            self._values += (value.dtype, value.tobytes())
        elif is_array(value):
            self._add_array(value)
        elif kind is types.FunctionType and not is_importable(value):
            self._add_function(value)
        elif kind is functools.partial:
            self._add_partial(value)
        elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
            if not is_importable(value):
                raise _ChangeableError
            self._parts.append(value)
        else:
            raise _ChangeableError

    def _add_module(self, module: types.ModuleType) -> None:
        name = module.__name__
        if name in SCRIPTS or name in reach.by_value or sys.modules.get(name) is not module:
            raise _ChangeableError
        self._parts.append(module)

    def _add_array(self, array: Array) -> None:
        if array.dtype.hasobject or find_named(array) is not None:
            raise _ChangeableError
        self._values += (array.dtype, array.shape, array.strides, array.flags.writeable)
        if array.nbytes < INLINE_BYTES and not _is_shared(array):
            self._values.append(array.tobytes())
        else:
            self._arrays.append(array)

    def _add_partial(self, partial: Any) -> None:
        for part in (partial.func, partial.args, *partial.keywords, *partial.keywords.values()):
            self._add(part)
        self._values.append(len(partial.keywords))
        if partial.__dict__:
            raise _ChangeableError

    def _add_function(self, fn: types.FunctionType) -> None:
        number = serial(fn)
        self._values.append(number)
        if number in self._functions:
            return
        self._functions.add(number)
        self._parts += (fn.__code__, fn.__doc__)
        for value in (fn.__name__, fn.__qualname__, fn.__module__, fn.__defaults__):
            self._add(value)
        self._add(getattr(fn, "__type_params__", ()))
        for named in (fn.__kwdefaults__, fn.__annotations__, fn.__dict__):
            self._values.append(len(named or ()))
            for name, value in (named or {}).items():
                self._add(name)
                self._add(value)
        for cell in fn.__closure__ or ():
            try:
                self._add(cell.cell_contents)
            except ValueError:  # it is empty
                self._add(_ABSENT)
        for name in (*_BASICS, *names_in(fn.__code__)):
            self._add(fn.__globals__.get(name, _ABSENT))


def _is_shared(array: Array) -> bool:
    """Return whether workers see what is written to an array: it is in shared memory, and meant to be."""
    return find_anchor(array) is not None and is_meant_shared(array)


def fingerprint(fn: Callable[..., Any]) -> Fingerprint | None:
    """Return the fingerprint of a function; None if only a pickle can tell whether it is still the same."""
    if type(fn) is not types.FunctionType and type(fn) is not functools.partial:
        return None
    try:
        return Fingerprint(fn)
    except ValueError:
        return None
