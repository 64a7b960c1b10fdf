"""Errors of the user's function, as a worker describes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pardata.runtime.faults import Fault, exit_as_error

_HERE: Final = os.path.dirname(__file__)


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name of a function for messages."""
    return str(getattr(fn, "__name__", type(fn).__name__))


def fault_of(error: BaseException, fn: Callable[..., Any], number: int, item: object) -> Fault:
    """Describe an error of the user's function, without the pool's own files in its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    error = exit_as_error(error.with_traceback(trace))
    return Fault.of(error, name_of(fn), number, item)
