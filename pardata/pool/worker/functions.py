"""The functions that a worker of a pool has decoded; they lie encoded in the main process's arena."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pardata.codec.code import decode_code, own_bytes
from pardata.codec.main_globals import Captured, script
from pardata.memory.array import anchor
from pardata.memory.segment import Segment
from pardata.pool.arrays.rows import OpenWork
from pardata.pool.arrays.work import ArrayRef, Work
from pardata.pool.worker.messages import CodeAddress

_MOST_KEPT: Final = 64
_MOST_OWN_BYTES: Final = 64 << 20  # of arrays that are the state of functions which are kept


class _Known(NamedTuple):
    """A decoded function or work, the globals it has brought, bytes of its own large arrays, the function it needs."""

    made: Any
    captured: Captured
    own_bytes: int
    needs: int


class Functions:
    """get: decoded functions, the most recent ones, with the globals of the script that they have brought.

    Those with much state of their own are let go of when the next one comes: it may be the same one with another state.
    The works of `map_array` and its like are kept beside them, each as long as its function: there are new ones in each
    call, and none has a state.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        known = script()
        assert known is not None
        self._script = known
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._last = -1  # whose globals are set

    def get(self, code: CodeAddress) -> Any:
        """Return the decoded function or work."""
        return self._load(code)[0]

    def _open(self, address: ArrayRef) -> Any:
        return address.open(self._segment)

    def _load(self, code: CodeAddress) -> tuple[Any, Captured]:
        """Return the decoded object, and the globals that it has brought; they are set now."""
        if code.key in self._known:
            made, captured = self._known[code.key][:2]
            if code.key != self._last:  # the script may have changed a global and set it back since
                self._known.move_to_end(code.key)
                self._script.apply(captured)
        else:
            with self._script.recording() as captured:
                made, nbytes = self._decode(code)
            needs = code.key
            if isinstance(made, Work):
                address = CodeAddress(*made.fn)
                fn, brought = self._load(address)
                made, captured = OpenWork(replace(made, fn=fn), self._open), {**captured, **brought}
                needs = address.key
            else:
                self._let_go(lambda: sum(known.own_bytes for known in self._known.values()) > _MOST_OWN_BYTES)
            self._let_go(lambda: len(self._known) >= _MOST_KEPT)
            self._known[code.key] = _Known(made, captured, nbytes, needs)
        self._last = code.key
        return made, captured

    def _let_go(self, are_many: Callable[[], bool]) -> None:
        """Let go of the oldest functions, and of the works that call them, as long as there are many."""
        known = self._known
        while are_many():
            oldest, _ = known.popitem(last=False)
            for key in [key for key, each in known.items() if each.needs == oldest]:
                del known[key]

    def _decode(self, code: CodeAddress) -> tuple[Any, int]:
        """Return the object, and the bytes of the large arrays that are its own."""
        memory = self._segment.map
        blocks = [anchor(memory, offset, extent, None, None) for offset, extent in code.blocks]
        payload = memoryview(memory)[code.offset : code.offset + code.length]
        return decode_code(payload, blocks, self._segment), own_bytes(payload)
