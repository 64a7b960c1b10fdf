"""What the pickle of a function is made of: by this a pool sees that it need not pickle the function once more.

A function that no worker can import travels by value, with the globals that it uses (`channel.by_value`), and any of
that may have changed since the last call. To look is several times as fast as to pickle. Only what cannot change inside
is looked at, by identity; of anything else - a list, an array, an instance - only a pickle can tell.
"""

from __future__ import annotations

import operator
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import cloudpickle
import numpy as np

from pardata.channel.by_value import is_importable
from pardata.channel.script import SCRIPTS

_LONGEST: Final = 1 << 10  # of a str or bytes: what is looked at is kept
_NUMBERS: Final = {int, float, complex, bool, type(None), type(...), range}
_BASICS: Final = ("__package__", "__name__", "__path__", "__file__")  # of the globals, that every function takes along
_ABSENT: Final = object()


class _ChangeableError(Exception):
    """Something may change and still be the same object."""


class Contents:
    """The parts of a function at one time.

    Raises
    ------
    ValueError
        A part may change inside.
    """

    __slots__ = ("_modules", "_parts")

    def __init__(self, fn: types.FunctionType) -> None:
        if not cloudpickle.list_registry_pickle_by_value() <= set(SCRIPTS):
            raise ValueError("modules that were registered by the user travel by value as well")
        self._modules = len(sys.modules)  # which submodules are taken along depends on which are there
        self._parts: list[object] = []
        try:
            self._add_function(fn)
        except (_ChangeableError, NameError, AttributeError) as error:  # an annotation may be evaluated here
            raise ValueError(f"{fn.__qualname__} has parts that may change") from error

    def is_same(self, other: Contents) -> bool:
        """Whether a pickle of both would be the same."""
        ours, theirs = self._parts, other._parts
        return self._modules == other._modules and len(ours) == len(theirs) and all(map(operator.is_, ours, theirs))

    def _add(self, value: Any) -> None:
        kind = type(value)
        if kind in _NUMBERS or ((kind is str or kind is bytes) and len(value) <= _LONGEST) or value is _ABSENT:
            self._parts.append(value)
        elif kind is tuple:
            self._parts.append(value)
            for part in value:
                self._add(part)
        elif kind is types.ModuleType:
            if value.__name__ in SCRIPTS or sys.modules.get(value.__name__) is not value:
                raise _ChangeableError
            self._parts.append(value)
        elif kind is types.GenericAlias:
            self._parts.append(value)
            for part in (value.__origin__, *value.__args__):
                self._add(part)
        elif isinstance(value, type | types.BuiltinFunctionType | np.ufunc) or kind is types.FunctionType:
            if is_importable(value):
                self._parts.append(value)
            elif kind is types.FunctionType:
                self._add_function(value)
            else:
                raise _ChangeableError
        else:
            raise _ChangeableError

    def _add_function(self, fn: types.FunctionType) -> None:
        is_known = any(part is fn for part in self._parts)
        self._parts.append(fn)
        if is_known:
            return
        self._parts += (fn.__code__, fn.__doc__)
        for value in (fn.__name__, fn.__qualname__, fn.__module__, fn.__defaults__):
            self._add(value)
        self._add(getattr(fn, "__type_params__", ()))
        for named in (fn.__kwdefaults__, fn.__annotations__, fn.__dict__):
            for name, value in (named or {}).items():
                self._add(name)
                self._add(value)
        for cell in fn.__closure__ or ():
            try:
                self._add(cell.cell_contents)
            except ValueError:  # it is empty
                self._add(_ABSENT)
        for name in (*_BASICS, *_names(fn.__code__)):
            self._add(fn.__globals__.get(name, _ABSENT))


def _names(code: types.CodeType) -> Iterator[str]:
    """Give the globals that code, and what is defined in it, may use: those, and some that it does not."""
    yield from code.co_names
    for part in code.co_consts:
        if type(part) is types.CodeType:
            yield from _names(part)


def contents(fn: Callable[..., Any]) -> Contents | None:
    """Return what a function is made of; None if only a pickle can tell whether it is still the same."""
    if type(fn) is not types.FunctionType:
        return None
    try:
        return Contents(fn)
    except ValueError:
        return None
