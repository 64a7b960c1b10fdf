"""Functions as they travel: encoded once, in the main process's arena."""

from __future__ import annotations

import itertools
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

from pardata.codec.by_value import is_importable
from pardata.memory.shared_heap import shared_heap
from pardata.pool.processes.fingerprint import Fingerprint, fingerprint
from pardata.pool.worker.messages import CodeAddress
from pardata.runtime.captured_arrays import CapturedArrays
from pardata.runtime.wiring import HeapSink, encode_program

_KEPT: Final = 64
_NAMED: Final = types.FunctionType | types.BuiltinFunctionType  # anything else may change though its name stays


def describe_function(fn: object) -> str:
    """Return the name of a function for messages."""
    return f"the function {getattr(fn, '__name__', fn)!r}"


class Code:
    """An encoded function in the main process's arena; it must live as long as a task that names it.

    Parameters
    ----------
    copies : CapturedArrays
        Copies of the arrays that functions have captured.
    needs : object
        Lives as long as the code.
    """

    _keys = itertools.count()

    def __init__(self, fn: object, what: str, copies: CapturedArrays, needs: object = None) -> None:
        self._needs = needs
        memory = shared_heap()
        encoded = encode_program(fn, what, fn, HeapSink(memory, copies))
        size = len(encoded.payload)
        self._anchors = encoded.anchors
        # Equal functions have equal bytes. None if it has captured large arrays, which the bytes do not hold.
        self.payload = None if encoded.anchors else encoded.payload
        self._block = memory.arena.reserve(size)
        self._block[:size] = memoryview(encoded.payload)
        blocks = [(block.offset, block.extent_bytes) for block in encoded.anchors]
        self.address = CodeAddress(next(self._keys), self._block.offset, size, blocks)
        self.wire = tuple(self.address)


class FunctionStore:
    """The functions that a pool has encoded: one that has not changed is encoded once, and its arrays are copied once.

    Parameters
    ----------
    encode : callable
        Encodes a function; gets its description for messages, and the captured arrays.
    """

    def __init__(self, encode: Callable[[Any, str, CapturedArrays], Any]) -> None:
        self.copies = CapturedArrays()
        self._encode = encode
        self._functions: dict[Any, Any] = {}  # by the function, or its pickle if that may be another one next time
        self._seen: weakref.WeakKeyDictionary[Any, tuple[Fingerprint, Any]] = weakref.WeakKeyDictionary()

    def get(self, fn: Callable[..., Any]) -> Any:
        """Return the code of a function as it is now."""
        if isinstance(fn, _NAMED) and is_importable(fn):
            return self._functions.get(fn) or self._keep(fn, self._encode(fn, describe_function(fn), self.copies))
        parts = fingerprint(fn)
        if parts is None:
            return self._of_pickle(fn)
        known = self._seen.get(fn)
        if known is not None and known[0].is_same(parts, self.copies):
            return known[1]
        code = self._of_pickle(fn)
        if parts.keep(self.copies, _forgetting(self._seen, fn)):
            self._seen[fn] = parts, code
        return code

    def _of_pickle(self, fn: Callable[..., Any]) -> Any:
        code = self._encode(fn, describe_function(fn), self.copies)
        return code if code.payload is None else self._keep(code.payload, code)

    def _keep(self, key: Any, code: Any) -> Any:
        code = self._functions.setdefault(key, code)
        if len(self._functions) > _KEPT:
            self._functions.pop(next(iter(self._functions)), None)  # another thread may have been faster
        return code

    def clear(self) -> None:
        """Forget them."""
        self._functions.clear()
        self._seen.clear()
        self.copies.clear()


def _forgetting(seen: weakref.WeakKeyDictionary[Any, Any], fn: Callable[..., Any]) -> Callable[[object], None]:
    """Return a callback that forgets a function when an array that it had captured is gone; keeps neither alive."""
    owner, key = weakref.ref(seen), weakref.ref(fn)

    def forget(_: object) -> None:
        kept, gone = owner(), key()
        if kept is not None and gone is not None:
            kept.pop(gone, None)

    return forget
