"""The lock of a pool's future: none stays locked when a signal's handler raises in `concurrent.futures`.

`concurrent.futures.wait` and `as_completed` take the locks of all their futures, one after the other, and give them
back one after the other. An exception in between, as Ctrl-C or that of a time limit, leaves some of them locked, and
the thread that has a result for such a future waits for ever: so it does in the pools of `concurrent.futures`.
"""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from pardata.process.interrupts import MAIN, Uninterrupted


class _Delay:
    """Delays the handlers of signals as long as the main thread has locks of futures."""

    def __init__(self) -> None:
        self._locks = 0
        self._uninterrupted = Uninterrupted()

    def begin(self) -> None:
        """Note that a lock is about to be taken."""
        if not self._locks:
            self._uninterrupted = Uninterrupted()
            self._uninterrupted.__enter__()
        self._locks += 1

    def end(self) -> None:
        """Note that a lock was given back. Behind the last one handlers are called, which may raise."""
        self._locks -= 1
        if not self._locks:
            self._uninterrupted.__exit__()


_delay = _Delay()


class _Whole(threading.Condition):
    """A condition whose lock is taken in one step by `with`.

    That is the lock's own method. `Condition.__enter__` is a function of Python, and behind its call of the lock,
    before the block of `with` has begun, an exception may come. (On CPython 3.14 one may come behind the lock's own
    method as well.)
    """

    if not TYPE_CHECKING:
        __enter__ = property(attrgetter("_lock.__enter__"))
        __exit__ = property(attrgetter("_lock.__exit__"))


class FutureLock(_Whole):
    """The condition of a future, as `concurrent.futures.Future` wants it."""

    if not TYPE_CHECKING:

        def __init__(self) -> None:
            super().__init__()
            del self.acquire, self.release  # the lock's own ones

        def acquire(self) -> bool:
            """Take the lock until `release`: handlers of signals wait meanwhile."""
            if threading.get_ident() == MAIN:
                _delay.begin()
            return self._lock.acquire()

        def release(self) -> None:
            """Give the lock back."""
            self._lock.release()
            if threading.get_ident() == MAIN:
                _delay.end()


class FutureWaiters(list[Any]):
    """Who waits for a future, as `concurrent.futures` enters it; the thread that has the result sets its event."""

    def append(self, waiter: Any) -> None:
        """Enter one."""
        waiter.event._cond.__class__ = _Whole
        super().append(waiter)
