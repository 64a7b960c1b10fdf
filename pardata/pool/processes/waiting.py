"""The sleep of a pool's thread, which a caller that waits for a result can take over for a moment.

The thread sleeps on a selector of the pool's selector. One system call turns that off and on again: meanwhile the
caller looks at the pool's selector itself.
"""

from __future__ import annotations

import select
import selectors
import threading


class Waiting:
    """A selector for the selector."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self._inner = inner
        self._fd: int = inner.fileno()  # type: ignore[attr-defined]
        self._lock = threading.Lock()
        self._glance = select.poll()
        self._glance.register(self._fd, select.POLLIN)
        self._epoll = select.epoll()
        self._epoll.register(self._fd, select.EPOLLIN)

    def wait(self, timeout_s: float | None) -> None:
        """Sleep until the inner selector has something."""
        self._epoll.poll(timeout_s)

    def has_news(self) -> bool:
        """Return whether the inner selector has something: that takes a fifth of the time of a `select`."""
        return bool(self._glance.poll(0))

    def pause(self) -> None:
        """From now on nothing wakes the sleeper."""
        with self._lock:
            if not self._epoll.closed:
                self._epoll.modify(self._fd, 0)

    def resume(self) -> None:
        """From now on every event wakes it, also one that has come meanwhile."""
        with self._lock:
            if not self._epoll.closed:
                self._epoll.modify(self._fd, select.EPOLLIN)

    def close(self) -> None:
        """Let go of the descriptor."""
        with self._lock:
            self._epoll.close()
