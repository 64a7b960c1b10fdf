"""Pickle objects for other processes."""

from __future__ import annotations

import pickle

from pardata.codec import by_value
from pardata.errors import SerializationError
from pardata.process.interrupts import is_of_handler

_PROTOCOL = 5


def dumps(value: object) -> bytes:
    """Pickle an object; functions and classes of ``__main__`` by value, since no other process has that module.

    Raises `SerializationError` if that is not possible.
    """
    try:
        data = pickle.dumps(value, _PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        data = b"__main__"
    if not by_value.is_script_in(data):
        return data
    try:
        return by_value.dumps(value)
    except Exception as error:
        if is_of_handler(error):
            raise
        raise SerializationError(f"a value of type {type(value).__name__} cannot be pickled: {error}") from error
