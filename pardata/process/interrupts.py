"""Protection of critical sections against Ctrl-C, and against other signals with handlers.

KeyboardInterrupt, or any other exception of a signal's handler, may come between any two steps of the main thread.
`Uninterrupted` delays the handlers for a few steps that belong together: in the middle of taking a task in, or of
handing it out, an exception would leave a task that belongs to no worker, and the pool could never end. Longer work,
and calls into the standard library, are done by another thread (`Aside`): handlers run in the main thread only, which
waits and can be interrupted at once.
"""

from __future__ import annotations

import _thread
import operator
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from time import monotonic
from types import FrameType
from typing import Any, ClassVar, Final

# A signal that comes between Python's last look for signals and the system call that sleeps does not end the sleep; the
# handler runs when the main thread wakes up. So it does after this long, where nothing else may wake it: what may be
# waited for longer is waited for in `steps`.
INTERRUPT_S: Final = 1.0

# Handlers of these may raise, to break off what takes too long (SIGALRM) or to end the program (SIGTERM).
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2")
_DELAYED: Final = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))

_MAIN: Final = threading.main_thread().ident
# The functions that `signal` wraps: its conversion to enums takes ten times as long, and these run for each task.
_plain: Any = sys.modules.get("_signal", signal)
_set, _get = _plain.signal, _plain.getsignal


def steps(timeout_s: float | None = None) -> Iterator[float]:
    """Yield the timeout of each part of a wait, until `timeout_s` seconds are over; None: without an end."""
    end_s = inf if timeout_s is None else monotonic() + timeout_s
    while (left_s := end_s - monotonic()) > 0:
        yield min(INTERRUPT_S, left_s)


def join(thread: threading.Thread) -> None:
    """Wait until a thread has ended."""
    while thread.is_alive():
        thread.join(INTERRUPT_S)


def is_of_handler(error: BaseException) -> bool:
    """Return whether a signal's handler has raised an error: it may come out of any code of the main thread."""
    codes = set()
    for number in signal.valid_signals():
        handler: Any = _get(number)
        while isinstance(handler, partial):
            handler = handler.func
        for made in (handler, getattr(handler, "__func__", None), vars(type(handler)).get("__call__")):
            codes.add(getattr(made, "__code__", None))
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code in codes:
            return True
        at = at.tb_next
    return False


class Uninterrupted:
    """A context that delays handlers of the main thread, those of Ctrl-C and of `_DELAYED`, until its end."""

    __slots__ = ("_came", "_handlers")

    _numbers: ClassVar[tuple[int, ...]] = _DELAYED

    def __enter__(self) -> None:
        self._came: dict[int, FrameType | None] = {}
        self._handlers: dict[int, Any] = {}
        if threading.get_ident() != _MAIN:
            return
        self._handlers = {number: handler for number in self._numbers if callable(handler := _get(number))}
        try:
            for number in self._handlers:
                _set(number, self._note)
        except BaseException:  # of a handler that was still to be replaced
            self._end()
            raise

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came[number] = frame

    def __exit__(self, *_: object) -> None:
        if self._handlers:
            self._end()

    def _end(self) -> None:
        try:
            self._put_back()
        finally:
            if self._came:
                self._call()

    def _put_back(self) -> None:
        """Put all handlers back, whatever is raised by those that are back already."""
        error, left = None, list(self._handlers)
        while left:
            try:
                while left:
                    _set(left[-1], self._handlers[left[-1]])
                    left.pop()
            except BaseException as raised:
                error = raised
        if error is not None:
            raise error

    def _call(self) -> None:
        """Call the handlers of the signals that have come, each of them."""
        while self._came:
            number, frame = self._came.popitem()
            try:
                self._handlers[number](number, frame)
            finally:
                self._call()


class Hastened(Uninterrupted):
    """A wait until something has ended: Ctrl-C is delayed and hastens that, a second one breaks the wait off.

    Parameters
    ----------
    hasten : callable
        Called at the first Ctrl-C, between any two steps of the main thread.
    """

    __slots__ = ("_hasten",)

    _numbers = (signal.SIGINT,)

    def __init__(self, hasten: Callable[[], object]) -> None:
        self._hasten = hasten

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            self._handlers[number](number, frame)
        super()._note(number, frame)
        self._hasten()


class Latch:
    """A gate that opens once, for all waiting threads. An interrupted wait leaves it intact; `Thread.join` may not.

    Attributes
    ----------
    is_open : bool
        Whether `wait` returns at once. The lock does not tell: a thread that passes holds it for a moment.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let all threads pass, now and later."""
        self.is_open = True
        self._gate.release()

    def wait(self) -> None:
        """Return when it is open."""
        pass_through = partial(self._gate.acquire, True, INTERRUPT_S), self._gate.release
        while not self.is_open:
            # Handlers are called between steps, and this is one step: one in between would leave the gate shut.
            all(map(operator.call, pass_through))  # type: ignore[arg-type]


def start_thread(thread: threading.Thread) -> None:
    """Start a thread wholly or not at all, whatever interrupts. Raises RuntimeError if the system has none.

    `Thread.start` in the main thread may be interrupted half-way; then the thread is listed as alive for ever. After an
    interrupt `thread.ident` tells whether the thread was started.
    """
    errors: list[RuntimeError] = []
    starters: list[int] = []
    is_begun = Latch()

    def start() -> None:
        try:
            thread.start()
        except RuntimeError as error:
            errors.append(error)
        finally:
            is_begun.open()

    try:
        # Handlers are called between steps, and this is one step: there is a starter if and only if it is in the list.
        starters.extend(map(_thread.start_new_thread, [start], [()]))
        is_begun.wait()
    except BaseException:
        if starters:
            with Uninterrupted():
                is_begun.wait()
        raise
    if errors:
        raise errors.pop()


class Aside:
    """A call that another thread makes to its end, even if the waiting thread is interrupted."""

    def __init__(self, call: Callable[[], object]) -> None:
        """Begin. Where no thread can be started, as at the exit of the interpreter, this thread makes the call."""
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
        """Return when the call has returned. Raises the error of the call, in the first thread that waits."""
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
    """Have a call made by another thread, and return when it has returned. Raises the error of the call."""
    Aside(call).wait()
