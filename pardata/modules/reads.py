"""The functions, classes and module attributes that a function uses, directly or by way of others.

A function of a module that a worker can import goes by its name. What it finds there may be something else than here:
the module was reloaded, edited or patched since its import, or an attribute was set at run time. `look` follows a
function through the user's modules and returns its `Reads`: the attributes that a worker is to get from here, and what
tells quickly whether any of that has changed.
"""

from __future__ import annotations

import copy
import enum
import operator
import sys
import types
import weakref
from itertools import chain
from typing import Any, Final

import numpy as np

from pardata.modules.changes import note_if_changed, sendable, source_of, was_sent, why_unpicklable
from pardata.modules.names import functions_of, names_in, parts_of, stores_in
from pardata.modules.own import SCRIPTS, is_own, reach
from pardata.modules.plain import contents_of, is_plain, is_record, is_simple
from pardata.modules.source import ModuleSource, is_code

Attribute = tuple[str, str]  # a module, and a name in it

_MOST_PARTS: Final = 1000  # of a container that is looked through
_looks: weakref.WeakKeyDictionary[Any, tuple[Any, Reads]] = weakref.WeakKeyDictionary()
_OPAQUE: Final = (type, types.BuiltinFunctionType, np.ufunc, np.ndarray)
_values_of: Final = operator.methodcaller("values")
_code_of: Final = operator.attrgetter("__code__")


class Reads:
    """What a function uses of the user's modules.

    Attributes
    ----------
    sent : dict
        By (module, name): the attributes that a worker is to have as they are here.
    modules : list
        Those that travel whole, by value.
    kept : set of (module, name)
        The attributes that the function assigns itself: those of a worker are its own.
    """

    def __init__(self) -> None:
        # Parallel lists, so that `is_same` takes few calls.
        self.sent: dict[Attribute, Any] = {}
        self.modules: list[types.ModuleType] = []
        self.kept: set[Attribute] = set()
        self.dicts: list[dict[str, Any]] = []
        self.names: list[str] = []
        self.values: list[Any] = []
        self.functions: list[types.FunctionType] = []
        self.codes: list[types.CodeType] = []
        self.classes: list[type] = []
        self.members: list[Any] = []
        self.contents: list[Any] = []  # of containers that may be changed in place
        self.copies: list[Any] = []
        self.sources: dict[str, tuple[ModuleSource, bool]] = {}  # and whether it was edited

        self.marks: dict[Attribute, Any] = {}  # of those of `sent` that can be changed by nobody unnoticed

    def is_same(self) -> bool:
        """Return whether nothing of it has changed. Few calls, however much there is: each submit asks."""
        return (
            all(map(operator.is_, map(dict.get, self.dicts, self.names), self.values))
            and all(map(operator.is_, map(_code_of, self.functions), self.codes))
            and self.contents == self.copies
            and (not self.classes or self._has_same_members())
        )

    def _has_same_members(self) -> bool:
        members = list(chain.from_iterable(map(_values_of, map(vars, self.classes))))
        return len(members) == len(self.members) and all(map(operator.is_, members, self.members))

    def is_as_in_files(self) -> bool:
        """Return whether no file of these modules was edited since they were looked at."""
        return all(
            source_of(source.module) is source and source.edited == was_edited
            for source, was_edited in self.sources.values()
        )


NOTHING: Final = Reads()


class _Walk:
    """Visits what a function uses, once each."""

    def __init__(self, root: Any) -> None:
        self.reads = Reads()
        self._seen: dict[int, Any] = {}  # what was visited; kept, so that nothing else gets its id
        self._found: set[int] = set()  # what workers find in a module
        self._candidates: dict[Attribute, tuple[ModuleSource, Any]] = {}  # for `sent`; `kept` is known at the end
        self._imported: set[str] = set()  # modules that workers import, or have as an attribute of one
        self._asked: set[Attribute] = set()  # attributes that code of other modules asks for
        self._waiting: list[Any] = [root]

    def run(self) -> Reads:
        self._add_root(self._waiting[0])
        while self._waiting:
            self._visit(self._waiting.pop())
        reads = self.reads
        for module in self._imported:
            self._take_module(module)
        for (module, name), (source, value) in self._candidates.items():
            if module in reach.whole:  # it is only to be compared later
                self._is_data(value)
            elif ((module, name) not in reads.kept or is_code(value)) and self._is_sent(source, name, value):
                reads.sent[module, name] = value
                self._take_module(str(getattr(value, "__module__", None)))
        reads.sent = _in_order(reads.sent)
        was_sent.update(reads.sent)
        return reads

    def _add_root(self, root: Any) -> None:
        """Note the name under which a worker finds the function itself."""
        module = sys.modules.get(str(getattr(root, "__module__", None)))
        name = str(getattr(root, "__qualname__", "")).partition(".")[0]
        if is_own(module) and is_code(root) and name in vars(module) and not source_of(module).edited:
            self._read(module, name)

    def _visit(self, value: Any) -> None:
        if id(value) in self._seen or is_simple(value):
            return
        self._seen[id(value)] = value
        if type(value) is types.FunctionType:
            self._visit_function(value)
        elif isinstance(value, type):
            if _is_of_user(value):
                self._visit_class(value)
        else:
            parts = parts_of(value)
            if len(parts) <= _MOST_PARTS:
                self._waiting += parts

    def _visit_class(self, kind: type) -> None:
        self._waiting += [*kind.__bases__, *functions_of(kind)]
        module = sys.modules.get(kind.__module__)
        if not is_own(module) or "<locals>" in kind.__qualname__:
            return
        source = self._source_of(module)
        self.reads.classes.append(kind)
        self.reads.members += vars(kind).values()
        if isinstance(kind, enum.EnumMeta) or source.edited:  # these come with it
            return
        for name, value in vars(kind).items():
            if not name.startswith("__") and self._is_data(value):
                self._candidates[module.__name__, f"{kind.__qualname__}.{name}"] = source, value

    def _visit_function(self, fn: types.FunctionType) -> None:
        self._waiting += parts_of(fn)
        module = sys.modules.get(str(fn.__globals__.get("__name__")))
        is_of_own = is_own(module) and vars(module) is fn.__globals__
        if not is_of_own and fn.__globals__.get("__name__") not in SCRIPTS:
            return
        if is_of_own and module is not None:
            self._source_of(module)
        is_local = "<locals>" in fn.__qualname__
        is_there = is_of_own and (id(fn) in self._found or not is_local)
        if is_there and not is_local:  # of others nothing is kept: they are to go when the user lets go of them
            self.reads.functions.append(fn)
            self.reads.codes.append(fn.__code__)
        names = names_in(fn.__code__)
        for target, name in stores_in(fn.__code__):
            owner = fn.__globals__.get(target, sys.modules.get(target)) if target else module
            if is_own(owner):
                self.reads.kept.add((owner.__name__, name))
            elif isinstance(owner, type):
                self.reads.kept.add((owner.__module__, f"{owner.__qualname__}.{name}"))
        for name in names:
            value = fn.__globals__.get(name, sys.modules.get(name))
            if is_there and name in fn.__globals__:
                self._read(module, name)
            elif not isinstance(value, types.ModuleType):
                self._waiting.append(value)
            if is_own(value):
                if is_there or name not in fn.__globals__:
                    self._imported.add(value.__name__)
                for inner in names & vars(value).keys():
                    self._asked.add((value.__name__, inner))
                    self._read(value, inner)

    def _read(self, module: Any, name: str) -> None:
        """Note that workers will look for a name in a module."""
        if (module.__name__, name) in self._candidates:
            return
        value = vars(module)[name]
        reads = self.reads
        reads.dicts.append(vars(module))
        reads.names.append(name)
        reads.values.append(value)
        self._found.add(id(value))
        self._waiting.append(value)
        self._candidates[module.__name__, name] = self._source_of(module), value

    def _source_of(self, module: types.ModuleType) -> ModuleSource:
        found = source_of(module)
        self.reads.sources[module.__name__] = found, found.edited
        return found

    def _is_data(self, value: Any) -> bool:
        """Return whether a value is plain data. What may be changed in place is noted, to be compared later."""
        if is_simple(value):
            return True
        if not (is_plain(value) or (_is_of_user(type(value)) and is_record(value))):
            return False
        contents = contents_of(value)
        try:
            kept = copy.deepcopy(contents)
        except RuntimeError:  # another thread changes it: a cache
            return False
        self.reads.contents.append(contents)
        self.reads.copies.append(kept)
        return True

    def _take_module(self, name: str) -> None:
        """Have a module without a file travel: what imports it in a worker finds it there."""
        if name in reach.whole and sys.modules[name] not in self.reads.modules:
            self.reads.modules.append(sys.modules[name])

    def _is_sent(self, source: ModuleSource, name: str, value: Any) -> bool:
        """Return whether workers may have another value. Plain data is always sent: they compare it with theirs."""
        if name.startswith("__") or (isinstance(value, types.ModuleType) and not source.edited):
            return False
        if self._is_data(value):
            return True
        if source.edited:  # its own functions have it with them
            return (source.module.__name__, name) in self._asked and why_unpicklable(value) is None
        if is_code(value):
            if note_if_changed(source.module.__name__, name, value):
                return True
            if value.__module__ == source.module.__name__ and value.__qualname__ == name:
                return False
        return sendable(source, name, value)


def _is_of_user(kind: type) -> bool:
    return kind.__module__ in SCRIPTS or is_own(sys.modules.get(kind.__module__))


def _in_order(sent: dict[Attribute, Any]) -> dict[Attribute, Any]:
    """Return attributes in the order in which workers can import their modules, also if these import each other.

    `sys.modules` has a module behind those that it has imported, so they begin at its end.
    """
    order = {name: place for place, name in enumerate(sys.modules)}
    return dict(sorted(sent.items(), key=lambda entry: -order.get(entry[0][0], 0)))


def look(root: Any) -> Reads:
    """Return what a function, or any object that holds functions, uses of the user's modules."""
    reach.refresh()
    if not reach.own:
        return NOTHING
    found = [reads for leaf in _code_in(root) if (reads := _look_at(leaf)) is not NOTHING]
    if len(found) < 2:
        return found[0] if found else NOTHING
    joined = Reads()
    for each in found:
        joined.sent |= each.sent
        joined.kept |= each.kept
        joined.modules += [module for module in each.modules if module not in joined.modules]
    joined.sent = _in_order(joined.sent)
    return joined


def _code_in(root: Any) -> list[Any]:
    """Return the functions and the user's classes that are parts of an object; itself if it is one."""
    found: dict[int, Any] = {}
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting and len(seen) < _MOST_PARTS:
        part = waiting.pop()
        if type(part) is types.FunctionType or (isinstance(part, type) and _is_of_user(part)):
            found[id(part)] = part
        elif id(part) not in seen and not is_simple(part) and not isinstance(part, _OPAQUE):
            seen[id(part)] = part
            waiting += parts_of(part)
    return list(found.values())


def _look_at(code: types.FunctionType | type) -> Reads:
    state, found = _looks.get(code, (None, NOTHING))
    if state != reach.state or not found.is_same() or not found.is_as_in_files():
        found = _Walk(code).run()
        if not found.values and not found.functions and not found.classes:
            found = NOTHING
        _looks[code] = reach.state, found
    return found
