"""Settings of the interpreter and of the calling thread that decide on results: workers take them on as they begin."""

from __future__ import annotations

import _locale
import contextvars
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np

_OF_CALLABLES: Final = ("formatter", "override_repr")  # print options that only this process has
_DECIMAL: Final = (
    "Context(prec=28, rounding=ROUND_HALF_EVEN, Emin=-999999, Emax=999999, capitals=1, clamp=0, flags=[], "
    "traps=[InvalidOperation, DivisionByZero, Overflow])"
)
_TOLD_TO_CALLABLES: Final = ("call", "log")  # ways to treat errors of numbers, likewise


def settings() -> dict[str, Any]:
    """Return the settings of this moment and this thread.

    They are those of NumPy's errors of numbers and of its printing, of decimal's context, the locale, the timeout of
    sockets, the rights of new files, and the interpreter's limits.
    """
    errors = {name: mode for name, mode in np.geterr().items() if mode not in _TOLD_TO_CALLABLES}
    printing = {name: value for name, value in np.get_printoptions().items() if name not in _OF_CALLABLES}
    found: dict[str, Any] = {
        "errors": errors,
        "printing": printing,
        "timeout": socket.getdefaulttimeout(),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "locale": _locale.setlocale(_locale.LC_ALL),
        "umask": _umask(),
    }
    if "decimal" in sys.modules:
        context = sys.modules["decimal"].getcontext().copy()
        context.clear_flags()
        if repr(context) != _DECIMAL:  # to load it takes a worker a millisecond
            found["decimal"] = context
    return found


def _umask() -> int | None:
    """Return the bits that new files do not have; None if the system does not tell. (`os.umask` would set them.)"""
    try:
        with open("/proc/thread-self/status", "rb") as file:
            found = next((line for line in file if line.startswith(b"Umask:")), None)
    except OSError:
        return None
    return None if found is None else int(found.split()[1], 8)


def note_settings() -> None:
    """Note the settings of this process, which its forks begin with."""
    _noted.update(settings())


def take_on(found: dict[str, Any]) -> None:
    """Have this process and thread work with the settings of another process. What was noted is there already."""
    for name, value in found.items():
        if name not in _noted or _noted[name] != value:
            _SETTERS[name](value)


def _set_context(context: Any) -> None:
    sys.modules["decimal"].setcontext(context)  # it was imported to load this


_noted: dict[str, Any] = {}
_SETTERS: Final[dict[str, Callable[[Any], object]]] = {
    "errors": lambda errors: np.seterr(**errors),
    "printing": lambda printing: np.set_printoptions(**printing),
    "timeout": socket.setdefaulttimeout,
    "recursion": sys.setrecursionlimit,
    "digits": sys.set_int_max_str_digits,
    "umask": lambda umask: None if umask is None else os.umask(umask),
    "decimal": _set_context,
    "locale": lambda name: _locale.setlocale(_locale.LC_ALL, name),
}


def as_here(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return `work` for another thread: it begins with the context variables and settings of the thread that is here.

    What it changes of them it changes for itself.
    """
    return partial(contextvars.copy_context().run, _with_own, dict(np.geterr()), work)


def _with_own(errors: dict[str, Any], work: Callable[..., Any], *args: Any) -> Any:
    np.seterr(**errors)  # before NumPy 2 they are no part of the context
    if "decimal" in sys.modules:
        decimal = sys.modules["decimal"]
        decimal.setcontext(decimal.getcontext().copy())
    return work(*args)
