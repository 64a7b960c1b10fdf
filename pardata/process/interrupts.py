"""Ctrl-C waits until a step is complete.

KeyboardInterrupt may come between any two steps of Python. In the middle of some it would leave what nobody knows of: a
worker that was just forked, a task that was taken in and not handed out. So it is raised right behind those.
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
    """A context: SIGINT's handler of the main thread is called at its end.

    Attributes
    ----------
    came : bool
        Whether there was a Ctrl-C since the beginning.
    """

    __slots__ = ("_handler", "_is_on", "came")

    def __enter__(self) -> Uninterrupted:
        self.came = False
        self._is_on = threading.get_ident() == _MAIN and callable(_get(signal.SIGINT))
        if self._is_on:
            self._handler = _set(signal.SIGINT, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    def __exit__(self, *_: object) -> None:
        if not self._is_on:
            return
        _set(signal.SIGINT, self._handler)
        if self.came:
            self._handler(signal.SIGINT, None)
