"""The part of a service's contents that a client has received already."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any


class KnownContents:
    """The received part of one version of the contents; a late answer is added to its own version only.

    Attributes
    ----------
    version : str
        "" before the first answer.
    about : dict
        The service's description of itself; empty if it was not asked yet.
    values : OrderedDict
        Values by (type of the key, key), as JSON: each look-up decodes a new object. The least recently used is first.
    """

    def __init__(self, version: str = "") -> None:
        self.version = version
        self.about: dict[str, Any] = {}
        self.values: OrderedDict[Any, Any] = OrderedDict()

    def keep(self, key: Any, value: Any, most: int) -> None:
        """Keep the value of a key; drop the least recently used ones beyond `most`."""
        self.values[key] = value
        while len(self.values) > most:
            with contextlib.suppress(KeyError):  # another thread may have removed the last one
                self.values.popitem(last=False)
