"""The names of methods in Python's own errors, as that of an argument that is missing."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TypeVar

_PACKAGE = __name__.split(".", 1)[0]

T = TypeVar("T", bound=type)


def named_as_called(kind: T) -> T:
    """Have the public methods that a class inherits within this package named as its own: users know no other class."""
    for base in kind.__mro__[1:]:
        if base.__module__.split(".", 1)[0] == _PACKAGE:
            for name, method in vars(base).items():
                if isinstance(method, FunctionType) and not name.startswith("_"):
                    for known in {method, inspect.unwrap(method)}:  # Python's errors name the function inside
                        known.__qualname__ = f"{kind.__qualname__}.{name}"
                        known.__module__ = kind.__module__  # pickle finds it there
    return kind
