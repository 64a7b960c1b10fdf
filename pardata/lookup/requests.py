"""The requests for keys, as they are sent to a service. Pure: no I/O."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from pardata.lookup import wire
from pardata.lookup.base import plain

_KEYS_AT_ONCE: Final = 10_000  # per request: answers of some megabytes
_BODY_BYTES: Final = 8 << 20  # half of the limit of a service


def query_of(values: dict[str, Any]) -> str:
    """Return the query part of a URL for keys by name; raise KeyError for a key of a type that cannot be sent."""
    sent = {}
    for name, key in values.items():
        try:
            sent[name] = json.dumps(wire.to_json(key))
        except TypeError as error:
            raise KeyError(key) from error  # no service has such a key
    return urllib.parse.urlencode(sent)


def bodies_of(keys: Any) -> Iterator[tuple[bytes, str]]:
    """Yield body and content type of each request for many keys; there is at least one."""
    for begin in range(0, max(1, len(keys)), _KEYS_AT_ONCE):
        part = keys[begin : begin + _KEYS_AT_ONCE]
        body = _packed(part)
        if len(body[0]) > _BODY_BYTES and len(part) > 1:  # long texts
            half = len(part) // 2
            yield from bodies_of(part[:half])
            yield from bodies_of(part[half:])
        else:
            yield body


def _packed(keys: Any) -> tuple[bytes, str]:
    """Return body and content type of a request for many keys: .npy for an array, else JSON."""
    if isinstance(keys, np.ndarray):
        return wire.to_npy([keys]), wire.NPY
    return json.dumps({"keys": [_sendable(plain(key)) for key in keys]}).encode(), wire.JSON


def _sendable(key: Any) -> Any:
    try:
        return wire.to_json(key)
    except TypeError:
        return None  # no service has such a key, and none has None
