"""The part of a service's contents that a client knows already."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import Any


class KnownContents:
    """What is known of one version of the contents. An answer that comes late adds to its own version, no other."""

    def __init__(self, version: str = "") -> None:
        self.version = version
        self.about: dict[str, Any] = {}
        self.values: OrderedDict[Any, Any] = OrderedDict()  # as JSON: what is handed out is made anew each time

    def keep(self, key: Any, value: Any, most: int) -> None:
        """Keep the value of a key, and no more than the `most` recent ones."""
        self.values[key] = value
        while len(self.values) > most:
            with contextlib.suppress(KeyError):  # another thread may be at this, too
                self.values.popitem(last=False)
