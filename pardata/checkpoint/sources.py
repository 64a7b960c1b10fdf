"""The code of the user's modules that a function imports when it is called.

Whether this process has imported such a module by chance does not matter: its file is read and compiled, not run.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from pardata.modules.names import imports_in, names_in
from pardata.modules.own import is_own


def code_imported_by(fn: types.FunctionType, seen: set[str]) -> Iterator[tuple[str, types.CodeType]]:
    """Yield names and code of the modules that `fn` imports, and of those that these import; add them to `seen`."""
    package = fn.__globals__.get("__package__") or ""
    yield from _imported(fn.__code__, package, seen)


def _imported(code: types.CodeType, package: str, seen: set[str]) -> Iterator[tuple[str, types.CodeType]]:
    imports = imports_in(code)
    names = sorted(names_in(code)) if imports else []
    waiting = [named for name in sorted(imports) for named in _modules(name, package)]
    for name in [*waiting, *(f"{parent}.{name}" for parent in waiting for name in names)]:
        if name in seen:
            continue
        seen.add(name)
        found = _code_of(name)
        if found is not None:
            yield name, found[0]
            yield from _imported(found[0], found[1], seen)


def _modules(name: str, package: str) -> list[str]:
    """Return the full names that an import may mean: of a relative one the dots are not known."""
    return [f"{package}.{name}".rstrip("."), name] if package else [name]


def _code_of(name: str) -> tuple[types.CodeType, str] | None:
    """Return the code of a module of the user's, and its package; None if there is no such one."""
    try:
        spec = _spec_of(name)
        if spec is None or not _is_users(spec):
            return None
        loader: Any = spec.loader
        code = loader.get_code(name)
    except Exception:  # it cannot be read or compiled: the call will tell
        return None
    return (code, str(spec.parent)) if isinstance(code, types.CodeType) else None


def _spec_of(name: str) -> ModuleSpec | None:
    """Find a module, as `importlib.util.find_spec` does, which would import the packages that it is in."""
    path: Sequence[str] | None = None
    spec, parts = None, name.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), path)
        path = None if spec is None else spec.submodule_search_locations
        if path is None and count < len(parts):
            return None
    return spec


def _is_users(spec: ModuleSpec) -> bool:
    made = types.ModuleType(spec.name)
    made.__file__, made.__spec__ = spec.origin, spec
    return is_own(made)
