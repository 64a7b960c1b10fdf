"""Functions as they travel: encoded once, in the main process's arena."""

from __future__ import annotations

import functools
import itertools
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

import cloudpickle

from pardata.codec.by_value import is_importable
from pardata.memory.shared_heap import shared_heap
from pardata.modules.look import look
from pardata.modules.own import reach
from pardata.modules.reads import NOTHING, Reads
from pardata.pool.processes.fingerprint import Fingerprint, fingerprint
from pardata.pool.worker.messages import CodeAddress
from pardata.runtime.captured_arrays import CapturedArrays
from pardata.runtime.wiring import HeapSink, encode_program

_KEPT: Final = 64
_NAMED: Final = types.FunctionType | types.BuiltinFunctionType  # anything else may change though its name stays


def describe_function(fn: object) -> str:
    """Return the name of a function for messages. Each call asks: a repr would show all that a partial has captured."""
    if isinstance(fn, functools.partial):
        return f"a partial of {describe_function(fn.func)}"
    return f"the function {getattr(fn, '__name__', type(fn).__name__)!r}"


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
        self._reads: dict[Any, tuple[Reads, Any]] = {}  # of the user's functions that go by their name
        self._seen: weakref.WeakKeyDictionary[Any, tuple[Fingerprint, Reads, Any]] = weakref.WeakKeyDictionary()

    def get(self, fn: Callable[..., Any]) -> Any:
        """Return the code of a function as it is now."""
        if isinstance(fn, _NAMED):
            reads, state = self._reads.get(fn, (NOTHING, None))
            # Read without a lock: at worst another thread encodes the same function again.
            if state is not None and state == _state() and reads.is_same():  # its own name is one of them
                return self._functions[fn]
            if is_importable(fn):
                code = self._functions.get(fn) if reads is NOTHING else None
                if code is not None:
                    return code
                reads = look(fn)
                if is_importable(fn):  # unless the look has found that it was changed
                    return self._keep_named(fn, reads)
        parts = fingerprint(fn)
        if parts is None:
            return self._of_pickle(fn)
        known = self._seen.get(fn)
        if known is not None and known[0].is_same(parts, self.copies) and (known[1] is NOTHING or known[1].is_same()):
            return known[2]
        reads = look(fn)
        code = self._of_pickle(fn)
        if parts.keep(self.copies, _forgetting(self._seen, fn)):
            self._seen[fn] = parts, reads, code
        return code

    def _keep_named(self, fn: Callable[..., Any], reads: Reads) -> Any:
        code = self._functions[fn] = self._encode(fn, describe_function(fn), self.copies)
        if reads is not NOTHING:
            self._reads[fn] = reads, _state()
        self._forget_oldest()
        return code

    def _of_pickle(self, fn: Callable[..., Any]) -> Any:
        code = self._encode(fn, describe_function(fn), self.copies)
        if code.payload is None:
            return code
        code = self._functions.setdefault(code.payload, code)
        self._forget_oldest()
        return code

    def _forget_oldest(self) -> None:
        if len(self._functions) > _KEPT:
            oldest = next(iter(self._functions))
            self._reads.pop(oldest, None)
            self._functions.pop(oldest, None)  # another thread may have been faster

    def clear(self) -> None:
        """Forget them."""
        self._functions.clear()
        self._reads.clear()
        self._seen.clear()
        self.copies.clear()


def _state() -> tuple[object, object]:
    """Return what decides, besides a function itself, whether it goes by its name."""
    return reach.by_value, cloudpickle.list_registry_pickle_by_value()


def _forgetting(seen: weakref.WeakKeyDictionary[Any, Any], fn: Callable[..., Any]) -> Callable[[object], None]:
    """Return a callback that forgets a function when an array that it had captured is gone; keeps neither alive."""
    owner, key = weakref.ref(seen), weakref.ref(fn)

    def forget(_: object) -> None:
        kept, gone = owner(), key()
        if kept is not None and gone is not None:
            kept.pop(gone, None)

    return forget
