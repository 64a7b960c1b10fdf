"""What a worker tells its parent over its control socket: one message for each event, shortened if it is too long."""

from __future__ import annotations

import errno
import pickle
import select
import socket
from typing import Any, Final

from pardata.channel.channel import RunGone
from pardata.runtime.faults import Fault

# The parent reads no longer ones. A socket takes 208 KiB by default, and less where `net.core.wmem_default` is less.
MOST_EVENT_BYTES: Final = 200_000
_LONGEST: Final = 16_000  # characters of a text in an event that is too long; of bytes eight times as many
_SHORTEST: Final = 8

Event = tuple[Any, ...]


def shortened(text: str, longest: int) -> str:
    """Return a text of about `longest` characters at the most, which says how long it was."""
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"


def send_event(sock: socket.socket, event: Event) -> None:
    """Send an event, waiting if the socket is full. What is too long for one message arrives with shorter texts.

    Raises `RunGone` if nobody listens any more.
    """
    data, longest = pickle.dumps(event), _LONGEST
    while len(data) > MOST_EVENT_BYTES or not _fits(sock, data):
        if longest < _SHORTEST:
            raise ValueError(f"the event {event[0]!r} does not fit a message of the control socket")
        data, longest = pickle.dumps(_shorter(event, longest)), longest // 2


def _fits(sock: socket.socket, data: bytes) -> bool:
    """Send a message; return False if it is longer than the socket takes."""
    try:
        while True:
            try:
                sock.send(data)
                return True
            except BlockingIOError:  # whether it blocks is not this process's alone: a forked child shares it
                poll = select.poll()
                poll.register(sock, select.POLLOUT)
                poll.poll()
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            return False
        raise RunGone("the run is gone") from None


def _shorter(value: Any, longest: int) -> Any:
    """Return an event, or a part of one, with no text longer than `longest`."""
    if isinstance(value, str):
        return shortened(value, longest)
    if isinstance(value, int):
        return value if value.bit_length() <= 8 * longest else f"an int of {value.bit_length()} bits"
    if isinstance(value, tuple):
        parts = [_shorter(part, longest) for part in value]
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    if isinstance(value, dict):
        return {key: _shorter(part, longest) for key, part in list(value.items())[:longest]}
    return value.shortened(longest) if isinstance(value, Fault) else value
