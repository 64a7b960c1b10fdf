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
_OF_OBJECTS: Final = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER", "STORE_ATTR", "DELETE_ATTR", "IMPORT_")
_BY_TEXT: Final = frozenset(
    {"getattr", "hasattr", "vars", "globals", "attrgetter", "__dict__", "modules", "import_module", "__import__"}
)  # what is named by a text
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
def globals_in(code: types.CodeType) -> frozenset[str]:
    """Return the names of the globals that code, or code defined in it, may use: no attributes, and no imports."""
    inner = [globals_in(part) for part in code.co_consts if type(part) is types.CodeType]
    named = [step for step in _steps(code) if step.opcode in dis.hasname]
    return frozenset(step.argval for step in named if not step.opname.startswith(_OF_OBJECTS)).union(*inner)


@lru_cache(4096)
def stores_in(code: types.CodeType) -> frozenset[tuple[str, str]]:
    """Return what code assigns outside of itself: ("", global variable), and ("package.module", its attribute).

    A module is called as code calls it, or by its own name where code has imported it to a local variable.
    """
    inner = [stores_in(part) for part in code.co_consts if type(part) is types.CodeType]
    if not _has(code, *_STORES, "STORE_ATTR") and "setattr" not in code.co_names:
        return frozenset().union(*inner)
    found = set()
    imported = _imported_to(code)
    owner = ""
    for step in _steps(code):
        if step.opname in _STORES:
            found.add(("", step.argval))
        elif owner and (step.opname == "STORE_ATTR" or _may_be_set(step, code)):
            found.add((owner, step.argval))
        if step.opname == "LOAD_ATTR" and owner:
            owner = f"{owner}.{step.argval}"
        elif step.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME")):
            owner = step.argval
        else:
            owner = imported.get(_variables(step)[-1], "") if "LOAD_FAST" in step.opname else ""
    return frozenset(found).union(*inner)


def _has(code: types.CodeType, *instructions: str) -> bool:
    """Return whether code may have one of these instructions, without taking it apart."""
    return not {dis.opmap[name] for name in instructions}.isdisjoint(code.co_code[::2])


def _steps(code: types.CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]


def _may_be_set(step: dis.Instruction, code: types.CodeType) -> bool:
    """Return whether a text behind a module may be an argument of `setattr`."""
    return step.opname == "LOAD_CONST" and type(step.argval) is str and "setattr" in code.co_names


def _variables(step: dis.Instruction) -> tuple[str, ...]:
    """Return the local variables of an instruction: one, or two."""
    return step.argval if isinstance(step.argval, tuple) else (step.argval,)


def _imported_to(code: types.CodeType) -> dict[str, str]:
    """Return the modules that code imports to local variables, by variable."""
    found: dict[str, str] = {}
    if not _has(code, "IMPORT_NAME"):
        return found
    module = bound = ""
    is_from = False
    before: dis.Instruction | None = None
    for step in _steps(code):
        if step.opname == "IMPORT_NAME":
            is_from = before is not None and before.argval is not None
            module, bound = step.argval, step.argval.partition(".")[0]
        elif step.opname == "IMPORT_FROM":  # without a `from`: import package.module as variable
            bound = f"{module}.{step.argval}" if is_from else module
        elif step.opname.startswith("STORE_FAST") and bound:
            found[_variables(step)[0]] = bound.lstrip(".")
            bound = ""
        before = step
    return found


@lru_cache(4096)
def texts_in(code: types.CodeType) -> frozenset[str]:
    """Return the texts in code that may name modules or their attributes, as in ``getattr(settings, "RATE")``."""
    if _BY_TEXT.isdisjoint(names_in(code)):
        return frozenset()
    found: set[str] = set()
    waiting: list[Any] = [code]
    while waiting:
        part = waiting.pop()
        if type(part) is str and part.replace(".", "").isidentifier():
            found |= {part, *part.split(".")}
        elif type(part) is types.CodeType:
            waiting += part.co_consts
        elif type(part) in (tuple, frozenset):
            waiting += part
    return frozenset(found)


@lru_cache(4096)
def imports_in(code: types.CodeType) -> frozenset[str]:
    """Return the modules that code imports, as it names them; of a relative import, without the dots."""
    steps = _steps(code) if _has(code, "IMPORT_NAME") else []
    found = {step.argval for step in steps if step.opname == "IMPORT_NAME"}
    inner = [imports_in(part) for part in code.co_consts if type(part) is types.CodeType]
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
