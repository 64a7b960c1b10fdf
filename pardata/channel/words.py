"""The words of a channel in shared memory: their places, meanings and writers. Pure arithmetic.

      sender's span                                                          receiver's span
      +---------------+----------+----------+-----+-------------------+      +----------------------+
      | channel words | record 0 | record 1 | ... | area 0 | area 1 | .. |   | done 0 | done 1 | ... |
      +---------------+----------+----------+-----+-------------------+      +----------------------+
        256 bytes       256 bytes each              64 KiB each                8 bytes each

Everything on the left is written by the `Sender` alone, everything on the right by the `Receiver` alone (but for
`Sender.abandon`, and `CLOSED` of a sender that has had no process). All words are signed and have 64 bits.

A small message lies whole in its record, behind the head; the contents of a larger one lie in the area of its slot.
Contents are a `LEASE` for each block, then the positions (a word each), then the payload. Positions and payload that do
not fit lie in a block of their own, the last one (`SPILLED`).

There are as many slots as can ever be needed, and memory only for those that were. To read a page of a mapping is to
have it allocated, so nobody looks at a slot before `TOP` says that it was used.
"""

from __future__ import annotations

import struct
from typing import Final

from pardata.memory.gaps import align
from pardata.memory.segment import PAGE_BYTES

RECORD_BYTES: Final = 256  # four cache lines: a head of 13 words, and 152 bytes for a small message
_RECORD_WORDS: Final = RECORD_BYTES // 8
AREA_BYTES: Final = 64 << 10
CAPACITY: Final = AREA_BYTES  # bytes of the contents of a message

# -- words of the channel ----------------------------------------------------------------------------------------------

CLOSED: Final = 0  # 0, or the number of messages plus one: no more will come
NEWEST: Final = 1  # slot of the last message
TOP: Final = 2  # slots that were ever used: the first so many
# A message that is published together with one of another channel, its leader (see `joint`). It counts as pledged if
# its stamp is above the last one of this channel.
PLEDGED: Final = 3  # its stamp; 0 while the next three are written
PLEDGED_SLOT: Final = 4
LEADER: Final = 5  # the leader's channel: an index among the outgoing ones of the process
LEADER_STAMP: Final = 6

# -- words of a record -------------------------------------------------------------------------------------------------

STAMP: Final = 0  # 1 for the first message of the channel, then rising by one; stored last: see SYNC POINT: publish
SEQUENCE: Final = 1  # these four are those of a `Batch`
NUMBER: Final = 2
COUNT: Final = 3
CELL: Final = 4
KIND: Final = 5  # the encoding (`codec.batch_codec`)
LEASES: Final = 6  # how many blocks the message carries
POSITIONS: Final = 7  # how many positions it has; -1: none are given, all items are there
PAYLOAD_BYTES: Final = 8
SPILLED: Final = 9  # 1: positions and payload lie in the last block
BEFORE: Final = 10  # slot of the message before it; of the first message 0, its own, which ends a walk back as well
BODY: Final = 11  # where the contents begin, in bytes of the sender's side
TOUCHED: Final = 12  # bytes of the area that were ever written to; outlives the message
HEAD_WORDS: Final = 13

HEAD: Final = struct.Struct(f"<{TOUCHED - SEQUENCE}q")  # the words from SEQUENCE to BODY, in this order
LEASE: Final = struct.Struct("<5q")  # row, its stamp, offset and extent of the block, 1 if others may have it as well
SMALL_BYTES: Final = RECORD_BYTES - 8 * HEAD_WORDS  # of contents that lie in the record


def slot_at(slot: int) -> int:
    """Return where a slot's record begins, in words of the sender's side; before the first are the channel's own."""
    return (1 + slot) * _RECORD_WORDS


def area_at(slots: int, slot: int) -> int:
    """Return where a slot's area begins, in bytes of the sender's side."""
    return align((1 + slots) * RECORD_BYTES, PAGE_BYTES) + slot * AREA_BYTES


def words_bytes(used: int) -> int:
    """Return the memory of a channel's words on both sides, when so many slots have been used."""
    return align((1 + used) * RECORD_BYTES, PAGE_BYTES) + align(max(1, 8 * used), PAGE_BYTES)
