"""How a pool's thread sleeps, and how a caller who waits for a result takes its place for a moment.

The thread sleeps on a selector of the pool's selector. One system call turns that off and on again: meanwhile whoever
has done so looks at the pool's selector himself.
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
        """Whether the inner selector has something: a fifth of the time that it takes to ask the selector what."""
        return bool(self._glance.poll(0))

    def pause(self) -> None:
        """From now on nothing wakes who waits."""
        with self._lock:
            if not self._epoll.closed:
                self._epoll.modify(self._fd, 0)

    def resume(self) -> None:
        """From now on everything does, also what has come meanwhile."""
        with self._lock:
            if not self._epoll.closed:
                self._epoll.modify(self._fd, select.EPOLLIN)

    def close(self) -> None:
        """Let go of the descriptor."""
        with self._lock:
            self._epoll.close()
