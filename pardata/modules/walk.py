"""Follows a function through the user's modules."""

from __future__ import annotations

import copy
import enum
import sys
import types
import weakref
from collections.abc import Set
from typing import Any, Final

from pardata.modules.changes import (
    note_deleted,
    note_if_changed,
    note_registered,
    pickling_error,
    registry_of,
    sendable,
    source_of,
    was_sent,
)
from pardata.modules.names import functions_of, imports_in, names_in, parts_of, stores_in, texts_in
from pardata.modules.own import SCRIPTS, is_of_user, is_own, reach
from pardata.modules.plain import is_plain, is_record, is_simple, plain_contents
from pardata.modules.reads import ABSENT, NOTHING, Attribute, Reads, in_order
from pardata.modules.source import ModuleSource, is_code

MOST_PARTS: Final = 1000  # of a container that is looked through
_walked: weakref.WeakKeyDictionary[Any, tuple[Any, Reads]] = weakref.WeakKeyDictionary()


def reads_of(code: types.FunctionType | type) -> Reads:
    """Return what a function or a class uses; as it was found before, if nothing of that has changed."""
    state, found = _walked.get(code, (None, NOTHING))
    if state != reach.state or not found.is_same() or not found.is_as_in_files():
        found = Walk(code).run()
        if not found.values and not found.functions and not found.classes:
            found = NOTHING
        _walked[code] = reach.state, found
    return found


class Walk:
    """Visits what a function uses, once each."""

    def __init__(self, root: Any) -> None:
        self.reads = Reads()
        self._seen: dict[int, Any] = {}  # what was visited; kept, so that nothing else gets its id
        self._found: set[int] = set()  # what workers find in a module
        self._candidates: dict[Attribute, tuple[ModuleSource, Any]] = {}  # for `sent`; `kept` is known at the end
        self._imported: set[str] = set()  # modules that workers import, or have as an attribute of one
        self._asked: set[Attribute] = set()  # attributes that code of other modules asks for
        self._names: set[str] = set()  # all that code names
        self._followed: dict[str, types.ModuleType] = {}  # modules that code names
        self._held: dict[str, types.ModuleType] = {}  # modules that objects hold: a default, a captured variable
        self._waiting: list[Any] = [root]

    def run(self) -> Reads:
        self._add_root(self._waiting[0])
        while self._waiting:
            self._visit(self._waiting.pop())
            if not self._waiting:
                self._read_passed_on()
        reads = self.reads
        for module in self._imported:
            self._take_module(module)
        for (module, name), (source, value) in self._candidates.items():
            if module in reach.whole:  # it is only to be compared later
                self._is_data(value)
            elif ((module, name) not in reads.kept or is_code(value)) and self._is_sent(source, name, value):
                reads.sent[module, name] = value
                self._take_module(str(getattr(value, "__module__", None)))
        reads.sent = in_order(reads.sent)
        was_sent.update(reads.sent)
        return reads

    def _add_root(self, root: Any) -> None:
        """Note the name under which a worker finds the function itself."""
        module = sys.modules.get(str(getattr(root, "__module__", None)))
        qualname = str(getattr(root, "__qualname__", ""))
        if "<locals>" in qualname:  # it goes by value, without the function in which it was defined
            return
        name = qualname.partition(".")[0]
        if is_own(module) and is_code(root) and name in vars(module) and not source_of(module).edited:
            self._read(module, name)

    def _visit(self, value: Any) -> None:
        if id(value) in self._seen or is_simple(value):
            return
        self._seen[id(value)] = value
        if type(value) is types.FunctionType:
            self._visit_function(value)
        elif isinstance(value, type):
            if is_of_user(value):
                self._visit_class(value)
        elif isinstance(value, types.ModuleType):
            if is_own(value):
                self._held[value.__name__] = value
        else:
            parts = parts_of(value)
            if len(parts) <= MOST_PARTS:
                self._waiting += parts

    def _visit_class(self, kind: type) -> None:
        held = [value for value in vars(kind).values() if isinstance(value, types.ModuleType)]
        self._waiting += [*kind.__bases__, *functions_of(kind), *held]
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
        self._note_stores(fn, module)
        names = names_in(fn.__code__) | texts_in(fn.__code__)
        if is_there and module is not None:
            self._note_deleted(self._source_of(module), names)
        self._names |= names
        for name in names & fn.__globals__.keys():
            value = fn.__globals__[name]
            if is_there:
                self._read(module, name)
            elif not isinstance(value, types.ModuleType):
                self._waiting.append(value)
            if is_own(value):
                self._follow(value, names, is_there)
        for value in _modules_named(fn, names):
            self._follow(value, names)

    def _note_stores(self, fn: types.FunctionType, module: Any) -> None:
        for target, name in stores_in(fn.__code__):
            owner = _find(fn, target) if target else module
            if is_own(owner):
                self.reads.kept.add((owner.__name__, name))
            elif isinstance(owner, type):
                self.reads.kept.add((owner.__module__, f"{owner.__qualname__}.{name}"))

    def _follow(self, module: types.ModuleType, names: Set[str], is_imported: bool = True) -> None:
        """Note the attributes of a module that have one of these names, and theirs if they are modules.

        Code names one attribute after another, `package.module.NAME`, and here it is not known which belongs to which.
        """
        waiting, seen = [(module, is_imported)], set()
        while waiting:
            module, is_imported = waiting.pop()
            seen.add(module.__name__)
            self._followed[module.__name__] = module
            if is_imported:
                self._imported.add(module.__name__)
            self._note_deleted(source_of(module), names)
            for name in names & vars(module).keys():
                self._asked.add((module.__name__, name))
                self._read(module, name)
                value = vars(module)[name]
                if is_own(value) and value.__name__ not in seen:
                    waiting.append((value, True))

    def _note_deleted(self, source: ModuleSource, names: Set[str]) -> None:
        for name in note_deleted(source, names):  # it may be set again
            self.reads.dicts.append(vars(source.module))
            self.reads.names.append(name)
            self.reads.values.append(ABSENT)

    def _read_passed_on(self) -> None:
        """Note what code may ask for of a module that it is given by other code, or finds in an object."""
        for module in self._held.values():
            self._follow(module, self._names)
        for module in self._followed.values():
            for name in self._names & vars(module).keys():
                if (module.__name__, name) not in self._candidates and is_plain(vars(module)[name]):
                    self._read(module, name)

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
        if not isinstance(value, types.ModuleType):
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
        if not (is_plain(value) or (is_of_user(type(value)) and is_record(value))):
            return False
        contents = plain_contents(value)
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
        if name.startswith("__"):
            return False
        if self._is_data(value):
            return True
        if source.edited:  # its own functions have it with them
            return (source.module.__name__, name) in self._asked and pickling_error(value) is None
        registry = registry_of(value)
        if registry is not None:
            self.reads.contents.append(registry)  # the next entry is to be noticed
            self.reads.copies.append(registry.copy())
            note_registered(source.module.__name__, name, registry)
        if is_code(value):
            if note_if_changed(source.module.__name__, name, value):
                return True
            if value.__module__ == source.module.__name__ and value.__qualname__ == name:
                return False
        return sendable(source, name, value)


def _packages_of(fn: types.FunctionType) -> list[str]:
    """Return the package of a function's module and those around it: relative imports begin there."""
    parts = str(fn.__globals__.get("__package__") or "").split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _modules_named(fn: types.FunctionType, names: Set[str]) -> list[types.ModuleType]:
    """Return the user's modules that code of a function imports, or finds in `sys.modules`."""
    imports = imports_in(fn.__code__)
    found = {*(names - fn.__globals__.keys()), *imports}
    if imports:
        found |= {f"{package}.{name}".rstrip(".") for package in _packages_of(fn) for name in imports}
    return [module for name in found if is_own(module := sys.modules.get(name))]


def _find(fn: types.FunctionType, path: str) -> Any:
    """Return the module or class that code of a function calls by a name, or by names with dots."""
    head, *rest = path.split(".")
    found: Any = fn.__globals__.get(head, sys.modules.get(head))
    for name in rest:
        found = vars(found).get(name) if isinstance(found, types.ModuleType | type) else None
    if found is None:
        paths = [path, *(f"{package}.{path}" for package in _packages_of(fn))]
        found = next((sys.modules[each] for each in paths if each in sys.modules), None)
    return found
