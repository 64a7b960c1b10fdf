"""Ctrl-C at moments when it would leave something half done.

KeyboardInterrupt, and whatever else a signal's handler raises, may come between any two steps of the main thread.
`Uninterrupted` has Ctrl-C wait for a few steps that belong together: in the middle of "a task is taken in" or "handed
out" it would leave a task that nobody has, and the pool could never end. What takes longer, or calls into the standard
library, is done by another thread (`Aside`): handlers run in the main thread alone, which only waits and can be
interrupted at once.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable
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


class Latch:
    """Opens once, for all who wait. An interrupted wait leaves it as it was, which `Thread.join` does not promise."""

    def __init__(self) -> None:
        self._gate = threading.Lock()
        self._gate.acquire()

    @property
    def is_open(self) -> bool:
        """Whether nobody would wait."""
        return not self._gate.locked()

    def open(self) -> None:
        """Let everybody pass."""
        self._gate.release()

    def wait(self) -> None:
        """Return when it is open."""
        with self._gate:
            pass


def start_thread(thread: threading.Thread) -> None:
    """Start a thread: at once and wholly, or not at all. Raises RuntimeError if there can be none.

    `Thread.start` in the main thread may be broken off half-way; then it is listed as a living one for ever.
    """
    errors: list[RuntimeError] = []
    is_begun = Latch()

    def start() -> None:
        try:
            thread.start()
        except RuntimeError as error:
            errors.append(error)
        finally:
            is_begun.open()

    _thread.start_new_thread(start, ())  # one step: handlers are called between steps
    is_begun.wait()
    if errors:
        raise errors.pop()


class Aside:
    """A call that another thread makes, from its first step to its last, whatever becomes of who waits for it."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Begin. Where no thread can be started, as at the end of the interpreter, the call is made here."""
        self._call = call
        self._error: BaseException | None = None
        self._is_done = Latch()
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="pardata-aside", daemon=True)
        try:
            start_thread(self._thread)
        except RuntimeError:
            self._thread = None
            self._run()

    def _run(self) -> None:
        try:
            self._call()
        except BaseException as error:
            self._error = error
        finally:
            del self._call
            self._is_done.open()

    def wait(self) -> None:
        """Return when the call has returned; raises what it has raised, to the first who waits."""
        self._is_done.wait()
        if self._thread is not None:
            self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error


def aside(call: Callable[[], object]) -> None:
    """Have a call made by another thread, and return when it has returned; raises what it has raised."""
    Aside(call).wait()
