"""Write ends on their way to processes that are being started.

A process that is being started is to count as one that may put from the start, so a write end must be open for it
before it has its own. The end travels in a socket: the new process takes it out, and with that the copy of the socket
in this process is empty. So the copy delays no end of file, though it may be closed much later.
"""

from __future__ import annotations

import os
import socket
import weakref
from multiprocessing import context
from typing import Any


def lend(writer: int) -> int:
    """Return a socket that holds a write end, which is closed here."""
    ours, theirs = socket.socketpair()
    with ours:
        socket.send_fds(ours, [b"."], [writer])
    # In the socket the kernel keeps the end open, whoever closes this descriptor of it.
    os.close(writer)
    return theirs.detach()


def from_lent(lent: int) -> int:
    """Return the write end that a socket of `lend` holds, and close the socket."""
    with socket.socket(fileno=lent) as theirs:
        return socket.recv_fds(theirs, 1, 1)[1][0]


class Lent:
    """The sockets of one queue that hold write ends for processes that are being started."""

    def __init__(self) -> None:
        self._entries: list[tuple[weakref.ref[Any], int]] = []

    def add(self, lent: int) -> None:
        """Keep a socket for the process that multiprocessing is starting."""
        self._entries.append((weakref.ref(context.get_spawning_popen()), lent))

    def close_delivered(self) -> None:
        """Close the sockets for processes that have been started, or could not be."""
        for entry in list(self._entries):
            started = entry[0]()
            # It has a pid once it is started. By then the new process has a copy of the socket.
            if started is None or hasattr(started, "pid"):
                self._entries.remove(entry)
                os.close(entry[1])

    def close_all(self) -> None:
        """Close every socket."""
        while self._entries:
            os.close(self._entries.pop()[1])
