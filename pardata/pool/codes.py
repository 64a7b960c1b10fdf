"""Functions as they travel: encoded once, in the main process's arena."""

from __future__ import annotations

import inspect
import itertools
import sys

from pardata.channel.script import SCRIPTS
from pardata.memory.home import home
from pardata.pool.tasks import CodeAddress
from pardata.runtime.wiring import HomeSink, encode_program


def name_of(fn: object) -> str:
    """Return the name of a function for messages."""
    return f"the function {getattr(fn, '__name__', fn)!r}"


def is_importable(fn: object) -> bool:
    """Whether a worker finds the function under its name: then it is the same whenever it is sent."""
    module = getattr(fn, "__module__", None)
    if module in (None, *SCRIPTS) or not (inspect.isfunction(fn) or inspect.isbuiltin(fn)):
        return False
    return getattr(sys.modules.get(str(module)), getattr(fn, "__qualname__", ""), None) is fn


class Code:
    """An encoded function in the main process's arena; it must live as long as a task that names it."""

    _keys = itertools.count()

    def __init__(self, fn: object, what: str) -> None:
        memory = home()
        encoded = encode_program(fn, what, fn, HomeSink(memory))
        size = len(encoded.payload)
        self._anchors = encoded.anchors
        # What tells it from others; None if it has captured large arrays, which the bytes do not hold.
        self.payload = None if encoded.anchors else encoded.payload
        self._block = memory.arena.reserve(size)
        self._block[:size] = memoryview(encoded.payload)
        blocks = [(block.offset, block.extent_bytes) for block in encoded.anchors]
        self.address = CodeAddress(next(self._keys), self._block.offset, size, blocks)
        self.wire = tuple(self.address)
