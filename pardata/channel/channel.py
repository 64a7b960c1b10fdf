"""One-way path between two processes: the two ends, their common words, and the socket between them.

      sender's span                              receiver's span
      records: stamp, numbers, small contents    done: per slot, the stamp of the last message that was finished
      areas: larger contents

      sender   -- "slot 5 is ready" ------------>  receiver      one AF_UNIX SOCK_SEQPACKET pair; it carries doorbells,
      sender   <- "slot 5 done, row 9 released" -  receiver      and nothing that the words above do not say

*Publish* is one store: the stamp of a slot, written last. *Commit* is one store: the same stamp in the receiver's
`done` word. Each word has one writer and lies in that writer's span. So neither a message nor a commit is lost with a
process, nothing has to be locked, and a replacement that reads the words knows exactly how far its predecessor was:

- published and not done: still to be processed (again);
- an output for the same input already published: not to be published twice.

The socket orders memory between the two, since a doorbell is received after the stores that it speaks of, and it wakes
a receiver that sleeps.

With *wake-up elision* a sender leaves out doorbells to a receiver that is awake, as a word of the receiver's says
(`sleep`): no message waits beside a sleeping receiver. A message that came without a doorbell is found by `NEWEST` and,
from there, by each message's word for the one before.

The holder of a token always finds a free slot (`pipeline.plan.plan`), so sending waits for nobody. Slots that are free
again are used first.

`words` has the layout, docs/protocol.md a drawing of one crossing and the consequences of each kill.

Source: claim/commit as in transactional message queues; single-writer words as in Lamport's 1977 ring.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass
from math import inf
from typing import Final

from pardata.channel.words import CLOSED, area_at
from pardata.errors import BrokenError
from pardata.memory.segment import Segment

# Forward, a message of the socket is one word: the slot of a message, or one of these.
DOORBELL: Final = struct.Struct("<q")
HELLO: Final = -1  # a new sender: scan all slots, then report which leases are held
CLOSE: Final = -2
SCAN: Final = -4  # doorbells are missing: scan all slots

# Backward it is pairs of words, or a part of a report of leases (see `lease_report`), which begins with HELLO or HOLDS.
#   lease row, stamp of the row       the lease has ended
#   DONE - slot, stamp                the message is finished
#   LOOK, 0                           from the parent: a sender that waits looks at the words again
LOOK: Final = -5
DONE: Final = -10  # no word between it and the ones above: DONE - slot is never one of them
HOLDS: Final = -3

# Without a doorbell for each message, its words are ordered by the processor alone: those of Intel and AMD do not let a
# store be seen before an earlier one.
CAN_ELIDE_WAKEUPS: Final = platform.machine().lower() in ("x86_64", "amd64", "i686")
FARM_WINDOW: Final = 2  # of a worker that has one message at work: that, and one ahead
WORDS_PER_MESSAGE: Final = 4000  # of the socket: 32 kB, so that there is room for a head
MESSAGE_BYTES: Final = 64 << 10  # that are received at once; the kernel drops the rest of a longer message


class RunGone(BrokenError):
    """The other end of a socket is closed: the run has ended, and nobody waits for this process."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return a connected, non-blocking pair that keeps message boundaries."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setblocking(False)
    return pair


@dataclass(frozen=True)
class ChannelSpec:
    """The place of a channel's words in the segment. Picklable; the sockets travel beside it.

    Attributes
    ----------
    sender_at, receiver_at : int (bytes)
        Where the words of each side begin.
    asleep_at : int (bytes), optional
        Where the receiver's process says whether it sleeps: doorbells are left out while it does not. None: there is
        one for each message.
    ahead : int
        Messages that a worker of a farm may have; later ones go to the worker that is free first.
    alone : int
        As `ahead`, of messages of several items, while no other worker of its stage is in use.
    rests_at : int (bytes), optional
        Of a receiver that is not needed all the time: where its word RESTS lies. Not 0: it gets no new messages.
    """

    slots: int
    sender_at: int
    receiver_at: int
    asleep_at: int | None = None
    ahead: int = FARM_WINDOW
    alone: int = FARM_WINDOW
    rests_at: int | None = None

    @staticmethod
    def sender_bytes(slots: int) -> int:
        """Return the bytes of the sender's side: the channel's own words and the records, then the areas."""
        return area_at(slots, slots)

    @staticmethod
    def receiver_bytes(slots: int) -> int:
        """Return the bytes of the receiver's side."""
        return 8 * slots


class ChannelEnd:
    """One end of a channel: the words of both sides, and the socket."""

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


def set_unused(segment: Segment, spec: ChannelSpec, is_unused: bool) -> None:
    """Have the receiver of a channel count it as ended, as its sender has had no process yet; or no longer.

    SYNC POINT: close. The parent stores it before the sender's first process starts.
    """
    words_at(segment, spec.sender_at + 8 * CLOSED, 8)[0] = int(is_unused)


def receive_all(sock: socket.socket, most_bytes: int = MESSAGE_BYTES, most: float = inf) -> list[bytes]:
    """Return the messages that are in the socket now, `most` of them; none is longer than `most_bytes`."""
    messages: list[bytes] = []
    while len(messages) < most:
        try:
            data = sock.recv(most_bytes)
        except BlockingIOError:
            return messages
        except ConnectionResetError:
            data = b""
        if not data:
            raise RunGone("the run is gone")
        messages.append(data)
    return messages


def try_send(sock: socket.socket, data: bytes) -> bool:
    """Send one message; return False, and do not wait, if the socket is full.

    Two ends that waited for each other's room would never end. A message that did not fit is owed, and
    `Collector.flush` tries it again: the words tell the same.
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
