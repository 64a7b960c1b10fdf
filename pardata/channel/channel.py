"""One-way path between two processes: a sender, a receiver, and what survives them both.

      sender's span                              receiver's span
      records: stamp, numbers, small contents    done: per slot, the stamp of the last message that was finished
      areas: larger contents

      sender   -- "slot 5 is ready" ------------>  receiver      one AF_UNIX SOCK_SEQPACKET pair; what it carries are
      sender   <- "slot 5 done, row 9 released" -  receiver      doorbells, all state is in the words above

*Publish* is one store: the stamp of a slot, written last. *Commit* is one store: the same stamp in the receiver's
`done` word. Each word has one writer and lies in that writer's span, so neither a message nor a commit is lost with
a process, nothing has to be locked, and a replacement that reads the words knows exactly what had happened:

- published and not done: still to be processed (again);
- an output for the same input already published: not to be published twice.

The socket orders memory between the two (a doorbell is received after what it speaks of was written) and wakes the
sleeper.

*Quiet* channels leave out doorbells to a receiver that is awake. Before it sleeps, a receiver says "I rest, message 7
was the last one I saw", then looks once more at the sender's word `NEWEST`; a sender stores, then reads its socket.
Both go through the lock of the same socket in the kernel, so one of them sees the other: no message waits beside a
sleeper. What came without a doorbell is found by `NEWEST` and, from there, by each message's word for the one before.
A free slot is always there for whoever holds a token (`pipeline.plan.plan`), so sending waits for nobody.

There are as many slots as could ever be needed, and memory only for those that were: the word `TOP` says how many have
been used so far, nobody looks at others (to read a page of a mapping is to have it allocated), and those that are free
again are used first. A slot has a record of 256 bytes, in which small messages lie whole, and an area for larger ones.

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
from pardata.memory.arena import align
from pardata.memory.segment import PAGE_BYTES, Segment

RECORD_BYTES: Final = 256
AREA_BYTES: Final = 64 << 10
# Words of a record: stamp, sequence, number, count, cell, kind, leases, positions, payload bytes, spilled, before,
# body, touched.
HEAD_WORDS: Final = 13
HEAD: Final = struct.Struct(f"<{HEAD_WORDS - 2}q")
LEASE: Final = struct.Struct("<5q")  # row, stamp, offset, extent, shared
SMALL_BYTES: Final = RECORD_BYTES - 8 * HEAD_WORDS  # of contents that lie in the record
CAPACITY: Final = AREA_BYTES

HELLO: Final = -1  # forward: a new sender, look at all your slots again / backward: an account of what is held
CLOSE: Final = -2
HOLDS: Final = -3  # backward: rows of leases that are held, a part of the account that follows
SCAN: Final = -4  # forward: doorbells are missing, look at all your slots
SLEEPING: Final = -5  # backward: I sleep from now on; with it the stamp of the last message that was seen
CLOSED, NEWEST, TOP = 0, 1, 2  # words of the channel: CLOSE(count), the slot of the last message, slots ever used
PLEDGED, PLEDGED_SLOT, LEADER, LEADER_STAMP = 3, 4, 5, 6  # and a message that goes with another: see `joint`
# Words of a record: the slot of the message before it; where the contents are; bytes of the area that were written to.
BEFORE, BODY, TOUCHED = 10, 11, 12

# Without a doorbell for each message, its words are ordered by the processor alone: those of Intel and AMD do not let a
# store be seen before an earlier one.
CAN_BE_QUIET: Final = platform.machine().lower() in ("x86_64", "amd64", "i686")
DOORBELL: Final = struct.Struct("<q")
WORDS_PER_MESSAGE: Final = 4000
MESSAGE_BYTES: Final = 64 << 10


class RunGone(BrokenError):
    """The other end of every socket is closed: nobody waits for this process any more."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected, non-blocking pair that keeps message boundaries."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
    return pair


@dataclass(frozen=True)
class ChannelSpec:
    """Where a channel's words are: offsets in the segment. Picklable; the sockets travel beside it."""

    slots: int
    sender_at: int
    receiver_at: int
    elides_wakeups: bool = False

    @staticmethod
    def sender_bytes(slots: int) -> int:
        """Return what the sender's side needs: the channel's own words and the records, then the areas."""
        return area_at(slots, slots)

    @staticmethod
    def receiver_bytes(slots: int) -> int:
        """Return what the receiver's side needs."""
        return 8 * slots


def slot_at(slot: int) -> int:
    """Return where a slot's record begins, in words of the sender's side; before the first are the channel's own."""
    return (1 + slot) * (RECORD_BYTES // 8)


def area_at(slots: int, slot: int) -> int:
    """Return where a slot's area begins, in bytes of the sender's side."""
    return align((1 + slots) * RECORD_BYTES, PAGE_BYTES) + slot * AREA_BYTES


def words_bytes(used: int) -> int:
    """Return the memory of a channel's words on both sides, when so many slots have been used."""
    return align((1 + used) * RECORD_BYTES, PAGE_BYTES) + align(max(1, 8 * used), PAGE_BYTES)


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


def receive_all(sock: socket.socket, most_bytes: int = MESSAGE_BYTES) -> list[bytes]:
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
