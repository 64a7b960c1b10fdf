"""Digests of functions and data that are the same in every process: they tell whether a job is still the one it was.

A function of the user's is its code, its defaults, what it has captured, and the globals that it names, those that are
functions in the same way. Functions and classes of Python and of installed packages count by their names. Of data, the
first gibibyte and the first 200,000 objects are read, which takes a second or two; of the rest, the sizes and samples.
Objects of libraries whose objects are data, as pathlib and pandas, count by what their pickles would hold. Those of
other libraries count by their class: a counter or an open connection in them would be taken for a change.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import marshal
import os
import sys
import types
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pardata.checkpoint.parts import contents_of, is_plain, reduced, sampled, state_of
from pardata.checkpoint.sources import code_imported_by
from pardata.data.file_array import FileArray
from pardata.memory.mapped import mapping_of
from pardata.modules.names import globals_in, names_in
from pardata.modules.own import SCRIPTS, is_own

FingerprintPart = tuple[str, str]  # the name of a part of a job, for messages, and its digest

_MOST_OBJECTS: Final = 200_000  # about 5 us each
_MOST_BYTES: Final = 1 << 30  # 1 GB/s
_PIECE_BYTES: Final = 1 << 20
_PIECE: Final = 1 << 16  # entries
_SIMPLE: Final = (type(None), bool, int, float, complex, str, type(...), range, slice)
_COMPILED: Final = (
    types.BuiltinFunctionType, types.MethodWrapperType, types.MethodDescriptorType, types.WrapperDescriptorType,
    types.ClassMethodDescriptorType, np.ufunc,
)  # fmt: skip
# Libraries whose objects are values.
_DATA: Final = frozenset({
    "argparse", "array", "collections", "datetime", "decimal", "enum", "fractions", "functools", "ipaddress", "numpy",
    "operator", "pandas", "pathlib", "re", "scipy", "sklearn", "types", "uuid", "zoneinfo",
})  # fmt: skip
_NO_DATA: Final = ("numpy.random",)  # a generator that was not seeded is another one in each process
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
        self._sources: set[str] = set()  # the modules whose code was taken in
        self._bytes = 0  # that were read of arrays

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
            self._add_entries(value)
        elif kind is dict:
            self._put("dict", len(value))
            self._add_entries(list(value.items()))
        elif kind in (set, frozenset):
            self._put(kind.__name__, *sorted(digest(part) for part in value))
        elif isinstance(value, np.ndarray):
            self._add_array(value)
        elif isinstance(value, np.dtype):
            self._put("dtype", repr(value))
        elif kind is memoryview:
            self._put("memoryview", value.tobytes())
        elif kind is types.MappingProxyType:
            self.add(dict(value))
        else:
            self._add_code_or_object(value, kind)

    def _add_code_or_object(self, value: Any, kind: type) -> None:
        if kind is types.CodeType:
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

    def _add_entries(self, values: list[Any] | tuple[Any, ...]) -> None:
        if is_plain(values):
            for at in range(0, len(values), _PIECE):
                self._put(marshal.dumps(list(values[at : at + _PIECE]), 2))
        else:
            self._add_all(*(sampled(values) if len(self._kept) + len(values) > _MOST_OBJECTS else values))

    def _add_array(self, array: np.ndarray[Any, Any]) -> None:
        self._put("array", array.dtype.str, array.dtype.names, array.shape)
        if array.dtype.hasobject:
            self._add_entries(array.reshape(-1).tolist())
        elif not self._is_file(array):
            self._put_entries(array)
        if isinstance(array, np.ma.MaskedArray):
            self.add(np.ma.getmaskarray(array))

    def _is_file(self, array: np.ndarray[Any, Any]) -> bool:
        """Take in the size and age of the file in which an array lies, and its place there; return whether it does."""
        mapping = mapping_of(array)
        found = None if mapping is None else mapping.stat()
        if mapping is None or found is None:
            return False
        place = array.__array_interface__["data"][0] - mapping.start
        self._put(mapping.file[0], found.st_size, found.st_mtime_ns, place, array.strides)
        return True

    def _put_entries(self, array: np.ndarray[Any, Any]) -> None:
        if array.nbytes <= _PIECE_BYTES or not array.ndim:
            self._bytes += array.nbytes
            self._put(array.tobytes())
            return
        rows = max(1, _PIECE_BYTES * len(array) // array.nbytes)
        begins: Sequence[int] = range(0, len(array), rows)
        if self._bytes + array.nbytes > _MOST_BYTES:
            begins = sampled(begins)
        for at in begins:
            self._put_entries(array[at : at + rows] if rows > 1 else array[at])

    def _add_code(self, code: types.CodeType) -> None:
        self._put("code", code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_flags)
        self._put(getattr(code, "co_exceptiontable", b""))
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
        self.add(fn.__dict__)
        names = sorted(names_in(fn.__code__))
        for name in sorted(globals_in(fn.__code__)):
            if name in fn.__globals__:
                self._put(name)
                self._add_used(fn.__globals__[name], names)
        for name, code in code_imported_by(fn, self._sources):
            self._put(name)
            self.add(code)

    def _add_used(self, value: Any, names: list[str]) -> None:
        """Take in the value of a global; of a module of the user's, what of it, or of its modules, is named."""
        self.add(value)
        if is_own(value):
            for inner in names:
                if inner in vars(value):
                    self._put(inner)
                    self._add_used(vars(value)[inner], [name for name in names if name != inner])

    def _add_class(self, kind: type) -> None:
        self._put("class", kind.__module__, kind.__qualname__)
        if not _is_users(kind):
            return
        self._add_all(*kind.__bases__)
        for name, value in sorted(vars(kind).items()):
            if name != "__doc__" and (inspect.isroutine(value) or not name.startswith("__")):
                self._put(name)
                self.add(value)

    def _add_object(self, value: Any, kind: type) -> None:
        self._put("object", kind.__module__, kind.__qualname__)
        self.add(kind)
        if isinstance(value, _COMPILED):
            self._put(getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__))
            owner = getattr(value, "__self__", None)  # as that of ``table.get``
            if not isinstance(owner, types.ModuleType):
                self.add(owner)
            return
        self._add_all(*contents_of(value))
        if kind.__module__.partition(".")[0] == _OWN:
            self.add(value._compared() if hasattr(value, "_compared") else state_of(value))
        elif _is_users(kind):
            self.add(state_of(value))
        elif kind.__module__.partition(".")[0] in _DATA and not kind.__module__.startswith(_NO_DATA):
            self._add_all(*reduced(value))


def digest_of_items(items: Sequence[Any]) -> str:
    """Return the digest of a sequence. Of one that may compute its entries: of its length, samples and attributes."""
    if type(items) in (list, tuple, range):
        return digest(items)
    return digest(type(items).__qualname__, len(items), list(sampled(items)), items)


def digest_of_array(array: Any) -> str:
    """Return the digest of an array, or of what is read as one. What lies in a file has its size and its age."""
    if isinstance(array, np.ndarray | FileArray):
        return digest(array)
    path = str(getattr(array, "path", getattr(array, "location", "")))
    found = os.stat(path) if os.path.isfile(path) else None
    age = None if found is None else (found.st_size, found.st_mtime_ns)
    return digest(path, age, tuple(array.shape), array.dtype)


def _is_users(named: Any) -> bool:
    name = named.__module__ or ""
    if name in SCRIPTS:
        return True
    module = sys.modules.get(name)
    return is_own(module) if module is not None else name.partition(".")[0] != _OWN
