"""Ctrl-C waits while a caller's thread does the pool's work.

KeyboardInterrupt may come between any two steps. In the middle of "a task is taken in" or "handed out" it would leave a
task that nobody has, and the pool could never end. So it is raised right behind those.
"""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

_MAIN: Final = threading.main_thread().ident
# What `signal` wraps, without its conversion to enums: that takes ten times as long, and this runs often per call.
_plain: Any = sys.modules.get("_signal", signal)
_set, _get = _plain.signal, _plain.getsignal


class Uninterrupted:
    """A context: SIGINT's handler of the main thread is called at its end."""

    __slots__ = ("_came", "_handler", "_is_on")

    def __enter__(self) -> None:
        self._came = False
        self._is_on = threading.get_ident() == _MAIN and callable(_get(signal.SIGINT))
        if self._is_on:
            self._handler = _set(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True

    def __exit__(self, *_: object) -> None:
        if not self._is_on:
            return
        _set(signal.SIGINT, self._handler)
        if self._came:
            self._handler(signal.SIGINT, None)
