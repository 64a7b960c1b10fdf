"""Functions, classes and attributes of the user's modules that are not what a worker imports."""

from __future__ import annotations

import sys
import types
import warnings
import weakref
from collections.abc import Mapping, Set
from typing import Any, Final

import cloudpickle
import numpy as np

from pardata.modules.names import functions_of
from pardata.modules.own import SCRIPTS, is_own, reach
from pardata.modules.plain import is_simple
from pardata.modules.source import ModuleSource, is_code

_PACKAGE: Final = __name__.partition(".")[0]
_MOST: Final = 1000  # entries of a table that are looked at

was_sent: set[tuple[str, str]] = set()
"""The attributes that workers have got from here, by module and name: they may have to be set back."""

_sources: weakref.WeakKeyDictionary[types.ModuleType, ModuleSource] = weakref.WeakKeyDictionary()

changed: dict[int, Any] = {}
"""Functions and classes that are other ones in workers, by id; kept, so that nothing else gets it."""

_told: set[tuple[str, str]] = set()


def source_of(module: types.ModuleType) -> ModuleSource:
    """Return the source of a module, as it is now. What belongs to a module that was edited goes by value."""
    found = _sources.get(module)
    if found is None:
        found = _sources[module] = ModuleSource(module)
    if found.refresh() and found.is_compiled:
        _warn(
            f"the extension module {module.__name__!r} was built anew since it was imported: worker processes that "
            "import it from now on run the new one. Start Python again, to have it here, too"
        )
    if found.edited:
        reach.add_by_value({module.__name__})
        if found.is_gone:
            reach.whole |= {module.__name__}
    return found


def note_if_changed(module: str, name: str, value: Any) -> bool:
    """Return whether a function or class that is found in a module is another one in workers, and goes by value."""
    if id(value) in changed:
        return True
    if value.__module__ in SCRIPTS or value.__module__ in reach.by_value:
        return True
    if not is_own(sys.modules.get(value.__module__)):
        return False
    is_patched = (module, name) in was_sent or _has_patched_methods(value)
    if not is_patched and all(map(_is_as_imported, _functions_in(value))):
        return False
    changed[id(value)] = value
    return True


def _has_patched_methods(value: Any) -> bool:
    """Return whether a class has functions of another module in the place of its own."""
    if not isinstance(value, type):
        return False
    members = vars(value).items()
    foreign = [name for name, member in members if getattr(member, "__module__", value.__module__) != value.__module__]
    source = source_of(sys.modules[value.__module__])
    return any(source.defines(f"{value.__qualname__}.{name}") for name in foreign)


def _functions_in(value: Any) -> list[types.FunctionType]:
    """Return the functions of which a class, or a function with decorators, is made."""
    if isinstance(value, type):
        return functions_of(value)
    found: list[Any] = []
    while value is not None and len(found) < 100:
        found.append(value)
        value = getattr(value, "__wrapped__", None)
    return [each for each in found if type(each) is types.FunctionType]


def _is_as_imported(function: types.FunctionType) -> bool:
    if function.__module__ in SCRIPTS or function.__module__ in reach.by_value:
        return False
    for name in {str(function.__module__), str(function.__globals__.get("__name__"))}:
        module = sys.modules.get(name)
        if is_own(module):
            source = source_of(module)
            if source.edited or (vars(module) is function.__globals__ and not source.is_as_imported(function)):
                return False
    return True


def sendable(source: ModuleSource, name: str, value: Any) -> bool:
    """Return whether an object was set after the import of its module, and can be sent; warns if it cannot."""
    if not source.says_otherwise(name, value):
        return False
    error = pickling_error(value)
    if error is not None:
        module = source.module.__name__
        _tell(
            module,
            name,
            f"{module}.{name} was set at run time to a {type(value).__qualname__}, which cannot be sent to worker "
            f"processes ({error}): they use what the import of {module!r} gives. Set it in an initializer, or make "
            "it in the function",
        )
    return error is None


def registry_of(value: Any) -> Any:
    """Return the table of functions that an attribute is: a dict, list or set, or that of a generic function.

    None if it is none. (`functools.singledispatch` makes generic functions.)
    """
    if isinstance(value, types.FunctionType):
        registry = getattr(value, "registry", None)
        return registry if isinstance(registry, types.MappingProxyType) else None
    if type(value) not in (dict, list, set) or len(value) > _MOST:
        return None
    return value if all(is_code(each) or is_simple(each) for each in _entries_of(value)) else None


def _entries_of(registry: Any) -> list[Any]:
    return [*registry, *registry.values()] if isinstance(registry, Mapping) else list(registry)


def note_registered(module: str, name: str, registry: Any) -> None:
    """Warn if a table in a module has functions of the script, which the import does not give."""
    registered = next((each for each in _entries_of(registry) if is_code(each) and each.__module__ in SCRIPTS), None)
    if registered is not None:
        _tell(
            module,
            name,
            f"{module}.{name} has {registered.__qualname__!r} of the script, which was put there at run time: worker "
            f"processes have what the import of {module!r} gives. Put it there in a module that the function imports, "
            "or give the function the table, as an argument of a partial",
        )


def note_deleted(source: ModuleSource, names: Set[str]) -> list[str]:
    """Return those of some names that were deleted from a module; warns, as workers import it anew."""
    missing = [] if source.edited else source.missing(names)
    for name in missing:
        module = source.module.__name__
        _tell(
            module,
            name,
            f"{module}.{name} was deleted at run time: worker processes, which import {module!r}, have it. Set it to "
            "something else, as None, which they are given",
        )
    return missing


def _tell(module: str, name: str, text: str) -> None:
    if (module, name) not in _told:
        _told.add((module, name))
        _warn(text)


def pickling_error(value: Any) -> Exception | None:
    """Return the error that pickling a value raises; None if it can be pickled."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return None
    try:
        cloudpickle.Pickler(_Nowhere(), 5).dump(value)
    except Exception as error:
        return error
    return None


def _warn(text: str) -> None:
    """Warn at the line of the user's code that has called pardata."""
    frame = sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == _PACKAGE:
        frame = frame.f_back
    warnings.warn_explicit(text, RuntimeWarning, frame.f_code.co_filename, frame.f_lineno)


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)
