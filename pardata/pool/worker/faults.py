"""Errors of the user's function, as a worker describes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from pardata.modules.function_name import function_name
from pardata.runtime.faults import NO_ITEM, Fault, exit_as_error
from pardata.runtime.read_only import explain_read_only

_HERE: Final = os.path.dirname(__file__)


def fault_of(
    error: BaseException, fn: Callable[..., Any], number: int = -1, item: object = NO_ITEM, rows: str = ""
) -> Fault:
    """Describe an error of the user's function, without the pool's own files in its traceback.

    Parameters
    ----------
    number, item
        Of the item that the call was for; a single call has no number, and its item is its arguments.
    rows : str
        The rows that the call was for, in words.
    """
    try:
        error = _explained(error, item)
    except Exception as failure:  # the class of the error does not let us look at it
        error = failure
    name = function_name(fn)
    return Fault.of(error, name, number, item, place=f"the call of {name!r}{rows}")


def _explained(error: BaseException, item: object) -> BaseException:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    error = exit_as_error(error.with_traceback(trace))
    explain_read_only(error, item, "say writable=True to the pool or its map, for copies of its own")
    return error
