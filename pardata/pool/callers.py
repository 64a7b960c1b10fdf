"""The threads that are within a call of a pool's method which had begun before the pool was closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Callers:
    """The threads whose jobs a pool still takes after it was closed. It does not end before their calls do."""

    def __init__(self) -> None:
        self._threads: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._threads)

    @contextmanager
    def calling(self, is_open: Callable[[], bool], wake: Callable[[], object]) -> Iterator[None]:
        """Let this thread give the pool jobs until the end of a call, if the pool is open now.

        Parameters
        ----------
        is_open : callable
            Tells whether the pool is.
        wake : callable
            Has the pool look whether it is over.
        """
        me = threading.get_ident()
        if me in self._threads:  # within another call
            yield
            return
        try:
            self._threads.add(me)  # before the look, without the lock: a pool that closes looks the other way round
            if not is_open():
                self._threads.discard(me)
            yield
        finally:
            self._threads.discard(me)
            if not is_open():
                wake()

    @property
    def has_this(self) -> bool:
        """Return whether this thread is one of them."""
        return threading.get_ident() in self._threads

    def let_go(self) -> None:
        """Wait for no call of this thread: it waits itself, as a signal's handler that came within the call."""
        self._threads.discard(threading.get_ident())

    def clear(self) -> None:
        """Wait for none: their calls are cancelled."""
        self._threads.clear()
