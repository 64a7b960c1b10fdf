"""One-way path between two processes: a sender, a receiver, and what survives them both.

      sender's span                              receiver's span
      slots: stamp, numbers, leases, payload     done: per slot, the stamp of the last message that was finished

      sender   -- "slot 5 is ready" ------------>  receiver      one AF_UNIX SOCK_SEQPACKET pair; what it carries are
      sender   <- "slot 5 done, row 9 released" -  receiver      hints, all state is in the words above

*Publish* is one store: the stamp of a slot, written last. *Commit* is one store: the same stamp in the receiver's
`done` word. Each word has one writer and lies in that writer's span, so neither a message nor a commit is lost with
a process, nothing has to be locked, and a replacement that reads the words knows exactly what had happened:

- published and not done: still to be processed (again);
- an output for the same input already published: not to be published twice.

The socket orders memory between the two (a hint is received after what it speaks of was written) and wakes the sleeper.
A free slot is always there for whoever holds a token (`pipeline.plan`), so sending waits for nobody.

Source: claim/commit as in transactional message queues; single-writer words as in Lamport's 1977 ring.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final

from pardata.errors import BrokenError
from pardata.memory.segment import PAGE_BYTES, Segment

SLOT_BYTES: Final = 64 << 10
HEAD_WORDS: Final = 10  # stamp, domain, number, count, cell, kind, leases, positions, payload bytes, spilled
HEAD: Final = struct.Struct(f"<{HEAD_WORDS - 1}q")
LEASE: Final = struct.Struct("<5q")  # row, stamp, offset, extent, shared
BODY: Final = 8 * HEAD_WORDS
CAPACITY: Final = SLOT_BYTES - BODY

HELLO: Final = -1  # forward: a new sender, look at all your slots again / backward: an account of what is held
CLOSE: Final = -2
HOLDS: Final = -3  # backward: rows of leases that are held, a part of the account that follows
LOOK: Final = -4  # forward: hints are missing, look at all your slots
HINT: Final = struct.Struct("<q")
WORDS_PER_MESSAGE: Final = 4000


class RunGone(BrokenError):
    """The other end of every socket is closed: nobody waits for this process any more."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected, non-blocking pair that keeps message boundaries."""
    kind = socket.SOCK_SEQPACKET if hasattr(socket, "SOCK_SEQPACKET") else socket.SOCK_DGRAM
    pair = socket.socketpair(socket.AF_UNIX, kind)
    for end in pair:
        end.setblocking(False)
    return pair


@dataclass(frozen=True)
class ChannelSpec:
    """Where a channel's words are: offsets in the segment. Picklable; the sockets travel beside it."""

    slots: int
    sender_at: int
    receiver_at: int

    @staticmethod
    def sender_bytes(slots: int) -> int:
        """Return what the sender's side needs: a page for the channel's own words, then the slots."""
        return PAGE_BYTES + slots * SLOT_BYTES

    @staticmethod
    def receiver_bytes(slots: int) -> int:
        """Return what the receiver's side needs."""
        return 8 * slots


def slot_at(slot: int) -> int:
    """Return where a slot begins, in words of the sender's side."""
    return (PAGE_BYTES + slot * SLOT_BYTES) // 8


def words_at(segment: Segment, offset: int, nbytes: int) -> memoryview:
    """Return a part of the segment as 64-bit words."""
    return memoryview(segment.map)[offset : offset + nbytes].cast("q")


def receive_all(sock: socket.socket, most_bytes: int = SLOT_BYTES) -> list[bytes]:
    """Return the messages that are in the socket now; none is longer than `most_bytes`."""
    messages: list[bytes] = []
    while True:
        try:
            data = sock.recv(most_bytes)
        except BlockingIOError:
            return messages
        except ConnectionResetError:
            data = b""
        if not data:
            raise RunGone("the run is gone")
        messages.append(data)


def try_send(sock: socket.socket, data: bytes) -> bool:
    """Send one message; return False if the socket is full. Two ends that wait for each other's room would never end.

    A message that did not fit is owed, and tried again by `Collector.flush`: what it tells is in the words as well.
    """
    try:
        sock.send(data)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise
        raise RunGone("the run is gone") from None
    return True
