"""Refusals before a job on arrays begins: functions that cannot be called so, arrays that cannot be changed."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from pardata.data.file_array import FileArray
from pardata.errors import ConfigError
from pardata.pool.backend import Backend


def check_function(what: str, fn: object) -> None:
    """Refuse what is no function; `what`: the method."""
    if not callable(fn):
        swapped = "; the function comes first, then the array" if isinstance(fn, np.ndarray | list | tuple) else ""
        raise ConfigError(f"{what} needs a function, not {type(fn).__name__}{swapped}")


def check_changeable(array: FileArray, backend: Backend) -> None:
    """Refuse an array in a file that the pool's workers may not write to."""
    if not backend.places.may_write(array):
        way = (
            array.way_to_write
            if array.writers == "none"
            else "worker processes may not write to it: use map_array with another array as out="
        )
        raise ConfigError(f"foreach_array changes its array in place, and {array.location}: {way}")


def check_combine(combine: Any) -> None:
    """Refuse a function that does not take two results."""
    if not inspect.isroutine(combine):
        return
    try:
        inspect.signature(combine).bind(None, None)
    except TypeError:
        raise ConfigError(
            "reduce_array combines two results at a time, combine(first, second), and this function does not take two"
        ) from None
    except ValueError:
        pass  # of some functions written in C
