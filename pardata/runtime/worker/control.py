"""The control socket of a worker: events go out to the parent, its request to leave comes in."""

from __future__ import annotations

import socket

from pardata.channel.channel import RunGone


class Control:
    """The worker's end of the socket.

    Attributes
    ----------
    is_cancelled : bool
        The run is to end before its time.
    takes : int
        How many batches the program has asked for: the port looks at its sockets at every 16th (`WorkerPort.take`).
    """

    __slots__ = ("is_cancelled", "sock", "takes")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_cancelled = False
        self.takes = 0

    def receive(self) -> None:
        """Handle a readable socket: any message is the request to leave. Raises `RunGone` if the parent has closed."""
        if not self.sock.recv(64):
            raise RunGone("the run is gone")
        self.is_cancelled = True
