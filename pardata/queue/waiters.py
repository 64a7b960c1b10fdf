"""The threads of this process that wait in a queue, and a notice when one of the others ends.

A thread can put until its end, and only `join` reports the end of a thread. So each thread that could still put while
another one waits is joined by a thread of its own, which sleeps until then.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable

from pardata.process.capacity import explained


class Watcher(threading.Thread):
    """Calls a function when a thread has ended."""

    def __init__(self, watched: threading.Thread, at_end: Callable[[], None]) -> None:
        super().__init__(name=f"watches {watched.name}", daemon=True)
        self.watched, self._at_end = watched, at_end

    def run(self) -> None:
        """Wait for the end, then call the function."""
        try:
            self.watched.join()
        except (RuntimeError, AssertionError):
            return  # a thread that Python has not started has no end
        self._at_end()


_lock = threading.Lock()
_watched: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def watch(threads: Iterable[threading.Thread], at_end: Callable[[], None]) -> None:
    """See that `at_end` is called when one of these threads has ended."""
    with _lock:
        new = [thread for thread in threads if thread not in _watched]
        # Noted first, under the lock: no other call has them watched as well.
        _watched.update(new)
    try:
        with explained("a queue"):
            while new:
                Watcher(new[-1], at_end).start()
                new.pop()
    except BaseException:  # they are to be watched the next time
        _watched.difference_update(new)
        raise


def after_fork() -> None:
    """In a forked child: no thread of the parent is here."""
    global _lock
    _lock = threading.Lock()
    _watched.clear()


class Waiters:
    """The threads of this process that wait in one queue."""

    def __init__(self) -> None:
        self._idents: set[int] = set()

    def add(self) -> None:
        """Note that this thread waits."""
        self._idents.add(threading.get_ident())

    def discard(self) -> None:
        """Note that this thread waits no more."""
        self._idents.discard(threading.get_ident())

    def __bool__(self) -> bool:
        return bool(self._idents)

    def others(self) -> list[threading.Thread]:
        """Return the threads that do not wait: each can put, or start one that can."""
        return [
            thread
            for thread in threading.enumerate()
            if thread.ident not in self._idents
            and thread.is_alive()
            and not thread.name.startswith("pardata-")
            and not isinstance(thread, Watcher)
            and not type(thread).__module__.startswith("tqdm.")  # its monitor puts nothing; loading it here costs 40 ms
        ]
