"""The source of a module beside the module that was made of it: has its code been changed since the import?"""

from __future__ import annotations

import ast
import functools
import os
import re
import time
import types
from collections.abc import Iterator, Set
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from typing import Any, Final, TypeGuard

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_CONTAINERS: Final = {ast.List: list, ast.Dict: dict, ast.Set: set, ast.Tuple: tuple}
_CONSTANT: Final = (
    ast.Constant, ast.UnaryOp, ast.BinOp, *_CONTAINERS, ast.expr_context, ast.operator, ast.unaryop,
)  # fmt: skip
_BINDING: Final = re.compile(rb"^(?:(?:async +)?def +|class +)?(\w+)", re.M)
_OPEN: Final = {"exec", "globals", "vars", "setattr", "__dict__", "__getattr__"}


_CACHED: Final = type(functools.lru_cache(len))


Version = tuple[str, tuple[int, int] | None]  # of a module: its file, and `stamp_of` it


def stamp_of(file: str) -> tuple[int, int] | None:
    """Return what tells one version of a file from another; None if there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def is_code(value: Any) -> TypeGuard[Any]:
    """Return whether a value is a function, also a cached one, or a class."""
    return isinstance(value, types.FunctionType | type | _CACHED)


def _process_start() -> float:
    """Return when this process began; a file that is older has not been edited since its module was imported."""
    try:
        with open("/proc/self/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError):
        return time.time()


_START_S: Final = _process_start()
_SLACK_S: Final = 2.0  # of the time stamps of some file systems


class ModuleSource:
    """A module and its file.

    Attributes
    ----------
    edited : bool
        The file is not the one that it was at the first look: a worker may have imported either.
    """

    def __init__(self, module: types.ModuleType) -> None:
        self.module = module
        file = vars(module).get("__file__")
        self._file = file if isinstance(file, str) else ""
        self._first = self._stamp = self._look()
        self._codes: frozenset[types.CodeType] | None = None
        self._bound: dict[str, ast.AST | None] | None = None
        self._begun: frozenset[str] | None = None
        self._functions: frozenset[str] = frozenset()  # methods, by their qualified names
        self._is_open = False
        self.edited = False

    def _look(self) -> tuple[int, int] | None:
        return stamp_of(self._file)

    @property
    def version(self) -> Version:
        """The file, and what it was at the first look."""
        return self._file, self._first

    @property
    def is_gone(self) -> bool:
        """Whether there is no such file any more."""
        return self._stamp is None

    @property
    def is_compiled(self) -> bool:
        """Whether it is an extension module, of which nothing can go by value."""
        return isinstance(vars(self.module).get("__loader__"), ExtensionFileLoader)

    def refresh(self) -> bool:
        """Look at the file again; return whether it has changed."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp, self._codes, self._bound, self._begun = stamp, None, None, None
            self.edited = not self.is_compiled
            return True
        return False

    def is_as_imported(self, function: types.FunctionType) -> bool:
        """Return whether a worker that imports the module has this code, too."""
        if self.edited or function.__globals__ is not vars(self.module):
            return False
        if function.__code__.co_filename.startswith("<"):  # made by `dataclass` and its like
            return True
        if self._first is not None and self._first[0] < (_START_S - _SLACK_S) * 1e9:
            return True
        if type(getattr(self.module, "__loader__", None)) is not SourceFileLoader:  # it may have changed the code
            return True
        return function.__code__ in self._all_codes()

    def says_otherwise(self, name: str, value: object) -> bool:
        """Return whether the source gives a name another kind of value than it has: it was set later.

        It does if the source binds it once, to a constant, a function or a class, or not at all.
        """
        bound = self._bindings()
        if name not in bound:
            is_submodule = isinstance(value, types.ModuleType) and value.__name__ == f"{self.module.__name__}.{name}"
            return not (self._is_open or is_submodule or name.startswith("__"))
        node = bound[name]
        if isinstance(node, _DEFINITIONS):
            return not (is_code(value) and value.__module__ == self.module.__name__ and value.__name__ == name)
        if node is None or not _is_constant(node):
            return False
        return type(value) is not _CONTAINERS.get(type(node))  # a list may have been filled: it can be a cache

    def missing(self, names: Set[str]) -> list[str]:
        """Return those of `names` that the source binds for certain, once and for all, and the module has not."""
        absent = names - vars(self.module).keys()
        if not absent or absent.isdisjoint(self._begun_names()):  # without parsing it
            return []
        bound = self._bindings()
        return [] if self._is_open else sorted(name for name in absent if bound.get(name) is not None)

    def _begun_names(self) -> frozenset[str]:
        """Return the names with which a line of the source begins, as a binding may."""
        if self._begun is None:
            try:
                self._begun = frozenset(name.decode() for name in _BINDING.findall(self._text()) if name.isascii())
            except OSError:
                self._begun = frozenset()
        return self._begun

    def defines(self, path: str) -> bool:
        """Return whether the source has a function of this qualified name, without decorators."""
        self._bindings()
        return path in self._functions

    def _all_codes(self) -> frozenset[types.CodeType]:
        if self._codes is None:
            try:
                self._codes = frozenset(_codes_in(compile(self._text(), self._file, "exec", dont_inherit=True)))
            except (OSError, SyntaxError, ValueError):
                self._codes = frozenset()
        return self._codes

    def _bindings(self) -> dict[str, ast.AST | None]:
        if self._bound is None:
            self._bound = {}
            try:
                tree = ast.parse(self._text())
            except (OSError, SyntaxError, ValueError):
                self._is_open = True
                return self._bound
            for name, node in _bindings_in(tree):
                self._bound[name] = None if name in self._bound else node
            for part in ast.walk(tree):
                if isinstance(part, ast.Global):
                    self._bound |= {name: self._bound.get(name) for name in part.names}
                self._is_open = self._is_open or _names_open(part)
            self._is_open = self._is_open or "*" in self._bound
            self._functions = frozenset(_methods_in(tree))
        return self._bound

    def _text(self) -> bytes:
        with open(self._file, "rb") as file:
            return file.read()


def _names_open(node: ast.AST) -> bool:
    """Return whether a part of a source may bind names that it does not show."""
    return (isinstance(node, ast.Name) and node.id in _OPEN) or (
        isinstance(node, ast.FunctionDef | ast.Attribute) and getattr(node, "name", getattr(node, "attr", "")) in _OPEN
    )


def _codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _codes_in(part)


def _bindings_in(tree: ast.Module) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield the names that a module binds, each with its expression if that alone decides its value."""
    waiting: list[tuple[ast.AST, bool]] = [(node, True) for node in reversed(tree.body)]
    while waiting:
        node, is_certain = waiting.pop()
        if isinstance(node, _DEFINITIONS):
            yield node.name, node if is_certain and not node.decorator_list else None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name.partition(".")[0], None) for alias in node.names)
        elif isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id, None
        elif is_certain and (target := _only_target(node)) is not None:
            yield target, node.value  # type: ignore[attr-defined]
        else:
            for name in (getattr(node, "name", None), getattr(node, "rest", None)):  # `except`, and patterns
                if isinstance(name, str):
                    yield name, None
            waiting += [(child, False) for child in reversed(list(ast.iter_child_nodes(node)))]


def _methods_in(tree: ast.Module) -> Iterator[str]:
    """Yield the qualified names of methods without decorators."""
    waiting = [(node, "") for node in tree.body]
    while waiting:
        node, outer = waiting.pop()
        if isinstance(node, ast.ClassDef):
            waiting += [(inner, f"{outer}{node.name}.") for inner in node.body]
        elif outer and isinstance(node, _DEFINITIONS) and not node.decorator_list:
            yield outer + node.name


def _only_target(node: ast.AST) -> str | None:
    """Return the name that an assignment binds, if it is one of one name."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.AST = node.targets[0]
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        target = node.target
    else:
        return None
    return target.id if isinstance(target, ast.Name) else None


def _is_constant(node: ast.AST) -> bool:
    """Return whether an expression is made of constants alone."""
    return all(isinstance(part, _CONSTANT) for part in ast.walk(node))
