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

*Quiet* channels leave out hints to a receiver that is awake. Before it sleeps, a receiver says "I rest, message 7
was the last one I saw", then looks once more at the sender's word `NEWEST`; a sender stores, then reads its socket.
Both go through the lock of the same socket in the kernel, so one of them sees the other: no message waits beside a
sleeper. What came without a hint is found by `NEWEST` and, from there, by each message's word for the one before it.
A free slot is always there for whoever holds a token (`pipeline.plan`), so sending waits for nobody.

Source: claim/commit as in transactional message queues; single-writer words as in Lamport's 1977 ring.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass
from typing import Final

from pardata.errors import BrokenError
from pardata.memory.segment import PAGE_BYTES, Segment

SLOT_BYTES: Final = 64 << 10
HEAD_WORDS: Final = 11  # stamp, domain, number, count, cell, kind, leases, positions, payload bytes, spilled, before
HEAD: Final = struct.Struct(f"<{HEAD_WORDS - 1}q")
LEASE: Final = struct.Struct("<5q")  # row, stamp, offset, extent, shared
BODY: Final = 8 * HEAD_WORDS
CAPACITY: Final = SLOT_BYTES - BODY

HELLO: Final = -1  # forward: a new sender, look at all your slots again / backward: an account of what is held
CLOSE: Final = -2
HOLDS: Final = -3  # backward: rows of leases that are held, a part of the account that follows
LOOK: Final = -4  # forward: hints are missing, look at all your slots
REST: Final = -5  # backward: I sleep from now on; with it the stamp of the last message that was seen
CLOSED, NEWEST = 0, 1  # words of the sender's page: CLOSE(count), and the slot of the last message
PLEDGED, PLEDGED_SLOT, LEADER, LEADER_STAMP = 2, 3, 4, 5  # and a message that goes with another: see `joint`
BEFORE: Final = HEAD_WORDS - 1  # word of a slot: that of the message before it

# Without a hint for each message, its words are ordered by the processor alone: those of Intel and AMD do not let a
# store be seen before an earlier one.
CAN_BE_QUIET: Final = platform.machine().lower() in ("x86_64", "amd64", "i686")
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
    quiet: bool = False

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


class End:
    """What both ends have: the words of the sender's side and of the receiver's, and the socket."""

    def __init__(self, spec: ChannelSpec, sock: socket.socket, segment: Segment, index: int) -> None:
        self.spec = spec
        self.sock = sock
        self.index = index
        self._bytes = memoryview(segment.map)[spec.sender_at : spec.sender_at + ChannelSpec.sender_bytes(spec.slots)]
        self._words = self._bytes.cast("q")
        self._done = words_at(segment, spec.receiver_at, ChannelSpec.receiver_bytes(spec.slots))


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
