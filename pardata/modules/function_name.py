"""The names of the user's functions, as stages and errors tell them."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def innermost(fn: Any) -> Any:
    """Return the function of a partial, or of an object that has another one as its attribute `func`."""
    while (inner := _inside(fn)) is not None:
        fn = inner
    return fn


def _inside(fn: Any) -> Any:
    if isinstance(fn, functools.partial):
        return fn.func
    held = inspect.getattr_static(fn, "func", None)  # a mock has whatever it is asked for
    is_own = not isinstance(fn, type) and held is not inspect.getattr_static(type(fn), "func", None)  # and no method
    return held if is_own and callable(held) else None


def function_name(fn: Any) -> str:
    """Return the name of a function; of an object that is called, that of its class."""
    fn = innermost(fn)
    return str(getattr(fn, "__name__", None) or type(fn).__name__)
