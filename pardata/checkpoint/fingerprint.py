"""Digests of functions and data that are the same in every process: they tell whether a job is still the one it was.

A function of the user's is its code, its defaults, what it has captured, and the globals that it names, those that are
functions in the same way. What comes from Python or an installed package counts by its name. Large arrays and long
lists count by their size and by samples of their contents: to read all of them would cost as much as the job. Objects
of which nothing is known count by their class, so that a change may be missed, but nothing is taken for one by mistake.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pardata.memory.mapped import mapping_of
from pardata.modules.names import names_in
from pardata.modules.own import SCRIPTS, is_own

FingerprintPart = tuple[str, str]  # the name of a part of a job, for messages, and its digest

_SAMPLES: Final = 64
_LONG: Final = 1024  # entries of a list or tuple
_LARGE_BYTES: Final = 1 << 20
_SIMPLE: Final = (type(None), bool, int, float, complex, str, type(...), range, slice)
_OWN: Final = __name__.partition(".")[0]


def digest(*values: Any) -> str:
    """Return the digest of some values."""
    made = _Digest()
    for value in values:
        made.add(value)
    return made.hash.hexdigest()


class _Digest:
    """Takes in values, the parts of each behind it."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no other object gets the identity of one that was seen

    def _put(self, *words: Any) -> None:
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode("utf-8", "backslashreplace")
            self.hash.update(b"%d:" % len(data) + data)

    def add(self, value: Any) -> None:
        """Take in a value."""
        kind = type(value)
        if kind in _SIMPLE:
            self._put(kind.__name__, repr(value))
        elif kind in (bytes, bytearray):
            self._put(kind.__name__, bytes(value))
        elif isinstance(value, np.generic):
            self._put("number", value.dtype.str, value.tobytes())
        elif id(value) in self._seen:
            self._put("again", self._seen[id(value)])
        else:
            self._seen[id(value)] = len(self._seen)
            self._kept.append(value)
            self._add_parts(value, kind)

    def _add_parts(self, value: Any, kind: type) -> None:
        if kind in (list, tuple):
            self._put(kind.__name__, len(value))
            for part in sampled(value):
                self.add(part)
        elif kind is dict:
            self._put("dict", len(value))
            for part in sampled(list(value.items())):
                self.add(part)
        elif kind in (set, frozenset):
            self._put(kind.__name__, *sorted(digest(part) for part in value))
        elif isinstance(value, np.ndarray):
            self._add_array(value)
        elif kind is types.CodeType:
            self._add_code(value)
        elif kind is types.FunctionType:
            self._add_function(value)
        elif kind is types.ModuleType:
            self._put("module", value.__name__)
        elif isinstance(value, type):
            self._add_class(value)
        elif isinstance(value, functools.partial):
            self._put("partial")
            self._add_all(value.func, value.args, value.keywords)
        elif isinstance(value, types.MethodType):
            self._put("method")
            self._add_all(value.__func__, value.__self__)
        elif isinstance(value, staticmethod | classmethod):
            self._add_all(value.__func__)
        elif isinstance(value, property):
            self._add_all(value.fget, value.fset)
        elif "__wrapped__" in getattr(value, "__dict__", ()):
            self._add_all(value.__dict__["__wrapped__"])
        else:
            self._add_object(value, kind)

    def _add_all(self, *values: Any) -> None:
        for value in values:
            self.add(value)

    def _add_array(self, array: np.ndarray[Any, Any]) -> None:
        self._put("array", array.dtype.str, array.dtype.names, array.shape)
        if array.dtype.hasobject:
            self._add_all(*sampled(array.reshape(-1)))
        else:
            self._put_entries(array)

    def _put_entries(self, array: np.ndarray[Any, Any]) -> None:
        if array.nbytes <= _LARGE_BYTES or not array.ndim:
            self._put(array.tobytes())
            return
        for row in sampled(array, 0 if array.ndim > 1 else _LONG):
            self._put_entries(np.asarray(row))

    def _add_code(self, code: types.CodeType) -> None:
        self._put("code", code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)
        for part in code.co_consts:
            self.add(part)

    def _add_function(self, fn: types.FunctionType) -> None:
        self._put("function", fn.__qualname__)
        if not _is_users(fn):
            self._put(fn.__module__)
            return
        self._add_all(fn.__code__, fn.__defaults__, fn.__kwdefaults__)
        for cell in fn.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # it is empty
                self._put("empty")
        names = sorted(names_in(fn.__code__))
        for name in names:
            if name in fn.__globals__:
                found = fn.__globals__[name]
                self._put(name)
                self.add(found)
                if is_own(found):  # a module of the user's: what is used of it
                    for inner in names:
                        if inner in vars(found) and not isinstance(vars(found)[inner], types.ModuleType):
                            self.add(vars(found)[inner])

    def _add_class(self, kind: type) -> None:
        self._put("class", kind.__module__, kind.__qualname__)
        if not _is_users(kind):
            return
        self._add_all(*kind.__bases__)
        for name, value in sorted(vars(kind).items()):
            if inspect.isroutine(value) or isinstance(value, property) or not name.startswith("__"):
                self._put(name)
                self.add(value)

    def _add_object(self, value: Any, kind: type) -> None:
        self._put("object", kind.__module__, kind.__qualname__)
        self.add(kind)
        if isinstance(value, types.BuiltinFunctionType | np.ufunc) or inspect.isroutine(value):
            self._put(getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__))
            return
        state = getattr(value, "__dict__", None)
        if isinstance(state, dict) and (_is_users(kind) or kind.__module__.partition(".")[0] == _OWN):
            self.add({name: part for name, part in sorted(state.items())})


def sampled(values: Any, long: int = _LONG) -> Any:
    """Return a sequence, or some entries of a long one: the first, the last, and evenly between."""
    if len(values) <= max(long, _SAMPLES):
        return values
    return [values[at * (len(values) - 1) // (_SAMPLES - 1)] for at in range(_SAMPLES)]


def digest_of_items(items: Sequence[Any]) -> str:
    """Return the digest of a sequence that may be long: of its length and of samples."""
    return digest(type(items).__qualname__, len(items), list(sampled(items)))


def digest_of_array(array: Any) -> str:
    """Return the digest of an array, or of what is read as one. A mapped file has its size and its age."""
    mapping = mapping_of(array) if isinstance(array, np.memmap) else None
    known = None if mapping is None else mapping.stat()
    if mapping is not None and known is not None:
        layout = (array.shape, array.dtype.str, array.strides, array.offset)
        return digest(mapping.file[0], known.st_size, known.st_mtime_ns, *layout)
    if isinstance(array, np.ndarray):
        return digest(array)
    return digest(str(getattr(array, "path", getattr(array, "location", ""))), array.shape, array.dtype.str)


def name_of(fn: Any) -> str:
    """Return the name of a function for messages."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


def _is_users(named: Any) -> bool:
    name = named.__module__ or ""
    if name in SCRIPTS:
        return True
    module = sys.modules.get(name)
    return is_own(module) if module is not None else name.partition(".")[0] != _OWN
