"""The parts of functions, classes and other objects in which further functions may be, and the names in code."""

from __future__ import annotations

import dis
import functools
import types
from functools import lru_cache
from typing import Any, Final

from pardata.modules.own import is_installed

_PACKAGE: Final = __name__.partition(".")[0]
_STORES: Final = ("STORE_GLOBAL", "DELETE_GLOBAL")
_ATTRIBUTES: Final = ("__func__", "__self__", "__wrapped__", "fget", "fset", "fdel", "func", "args", "keywords")
_HOLDERS: Final = (
    types.MethodType, types.BuiltinMethodType, staticmethod, classmethod, property, functools.partial,
    functools.partialmethod, functools.cached_property, type(functools.lru_cache(len)),
)  # fmt: skip
_CALLED: Final = (types.FunctionType, types.MethodType, functools.partial)


@lru_cache(4096)
def names_in(code: types.CodeType) -> frozenset[str]:
    """Return the names of the globals that code, or code defined in it, may use, and some other names."""
    inner = [names_in(part) for part in code.co_consts if type(part) is types.CodeType]
    return frozenset(code.co_names).union(*inner)


@lru_cache(4096)
def stores_in(code: types.CodeType) -> frozenset[tuple[str, str]]:
    """Return what code assigns outside of itself: ("", global variable), and (global variable, its attribute)."""
    found = set()
    owner = ""
    for step in dis.get_instructions(code):
        if step.opname in _STORES:
            found.add(("", step.argval))
        elif step.opname == "STORE_ATTR" and owner:
            found.add((owner, step.argval))
        owner = step.argval if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else ""
    inner = [stores_in(part) for part in code.co_consts if type(part) is types.CodeType]
    return frozenset(found).union(*inner)


def functions_of(kind: type) -> list[types.FunctionType]:
    """Return the functions in the body of a class, out of properties and the like."""
    found: list[types.FunctionType] = []
    waiting = list(vars(kind).values())
    while waiting:
        value = waiting.pop()
        if type(value) is types.FunctionType:
            found.append(value)
        elif isinstance(value, _HOLDERS):
            waiting += parts_of(value)
    return found


def parts_of(value: Any) -> list[Any]:
    """Return the objects within another one, as far as functions may be among them."""
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return list(value)
    if kind is dict:
        return list(value.values())
    if kind is types.FunctionType:
        defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        return [*_captured(value), *defaults, *value.__dict__.values()]
    if isinstance(value, _HOLDERS):
        return [getattr(value, name) for name in _ATTRIBUTES if hasattr(value, name)]
    if isinstance(value, types.ModuleType):
        return []
    attributes = _attributes(value)
    if is_installed(kind.__module__):  # what such an object holds is not followed, but a function that it was given
        return [part for part in attributes if isinstance(part, _CALLED)]
    return [kind, *attributes]


def _captured(function: types.FunctionType) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # it is empty
            continue
    return found


def _attributes(value: Any) -> list[Any]:
    try:
        return list(object.__getattribute__(value, "__dict__").values())
    except (AttributeError, TypeError):
        return []
