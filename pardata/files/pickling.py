"""Pickle what other processes are to read."""

from __future__ import annotations

import pickle

import cloudpickle

from pardata.errors import SerializationError

_PROTOCOL = 5


def dumps(value: object) -> bytes:
    """Pickle, by value what belongs to ``__main__``: no other process has that module.

    Raises `SerializationError` if that is not possible.
    """
    try:
        data = pickle.dumps(value, _PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        data = b"__main__"
    if b"__main__" not in data:
        return data
    try:
        made: bytes = cloudpickle.dumps(value, _PROTOCOL)
    except Exception as error:
        raise SerializationError(f"a value of type {type(value).__name__} cannot be pickled: {error}") from error
    return made
