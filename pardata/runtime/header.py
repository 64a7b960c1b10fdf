"""The words of a span's header. Written by the owner only; read by the parent for reports, progress and recovery.

LEAVE and RESTS have the parent as their single writer. While the span has no process, the parent writes the others, too
(`runtime.supervisor`): before a start LOADING, BEGUN_NS, and the 0 of EXITS_NS; after a death ALONE; at the end the
bytes that nobody counts any more.
"""

from __future__ import annotations

from typing import Final

# 0, 1, 12, 60 and 63 are in memory.budget, 16 to 19 in pool.worker.words. A test checks that each word has one use.
CURRENT_BATCH: Final = 2  # the batch at work (see `batch_word`), which a successor begins with; 0: none
ITEMS: Final = 3  # items taken in (of a source: sent)
DROPPED: Final = 4  # items that a filter let go
FAILED: Final = 5  # items skipped because of an error
SENT_BYTES: Final = 6
BUSY_NS: Final = 7  # in the user's code and in encoding
STARVED_NS: Final = 8  # waiting for input
BLOCKED_NS: Final = 9  # waiting for a token or for a free worker behind
BATCHES: Final = 10  # committed
CURRENT_CALL: Final = 11  # as CURRENT_BATCH while this process is in the user's code; 0: it waits; or LOADING, AWAITS
NEXT_NUMBER: Final = 64  # + sequence: the number after the last one finished, where order is kept

BEGUN_NS: Final = 14  # when CURRENT_CALL began, or the wait (time.monotonic_ns, one clock for all processes)
WAITS_FOR: Final = 15  # while CURRENT_CALL is 0: STARVED_NS, BLOCKED_NS, MEMORY or ENDED
ENDED: Final = -1
MEMORY: Final = -2  # counted as blocked

INCARNATION: Final = 13  # how many processes have had this span: more than one means that there was a predecessor
LOADING: Final = -1  # written by the parent before a start
AWAITS: Final = -3  # calls of coroutine functions are awaited, and none of them runs at this moment

EXITS_NS: Final = 59  # since when it cleans up: the user's code, then Python's exit functions (time.monotonic_ns); or 0
ASLEEP: Final = 54  # whether its process sleeps (`channel.sleep`)
RESTS: Final = 55  # 1: its stage gets on without it, and senders give it nothing new. The parent writes it
LEAVE: Final = 56  # 1: it is to begin nothing more
THREAD: Final = 61  # the system's number of the thread that runs the worker
# Of a stage that awaits: while BATCHES is less than this, one call is made at a time. The parent writes ALONE between
# two processes, and the next one puts the number in its place (`runtime.worker.awaiting_port`).
ALONE_UNTIL: Final = 58
ALONE: Final = -1
TURN: Final = 57  # the input that was to be served next when the last batch was finished
CONSUMER_BUSY: Final = 62  # of the consumer: 1 while its loop, or a thread of it, is at an item or has not begun

MOST_SEQUENCES: Final = 400  # behind their words the name plate begins (`runtime.watching.plates`)

_NUMBER_BITS: Final = 48


def times_of(words: memoryview | tuple[int, ...], now_ns: int) -> tuple[int, int, int]:
    """Return how long a worker has been busy, starved and blocked, in ns, with what goes on (time.monotonic_ns)."""
    busy_ns, starved_ns, blocked_ns = words[BUSY_NS], words[STARVED_NS], words[BLOCKED_NS]
    doing, waits_for, since_ns = words[CURRENT_CALL], words[WAITS_FOR], max(0, now_ns - words[BEGUN_NS])
    if doing > 0:
        busy_ns += since_ns
    elif doing == 0 and words[INCARNATION] and waits_for == STARVED_NS:
        starved_ns += since_ns
    elif doing == 0 and words[INCARNATION] and waits_for not in (0, ENDED):
        blocked_ns += since_ns
    return busy_ns, starved_ns, blocked_ns


def batch_word(sequence: int, number: int) -> int:
    """Return sequence and number in one word, so that one store says which batch is being worked on."""
    return sequence << _NUMBER_BITS | (number + 1)


def batch_of_word(word: int) -> tuple[int, int] | None:
    """Return (sequence, number), or None if the word says that nothing is being worked on."""
    return (word >> _NUMBER_BITS, (word & ((1 << _NUMBER_BITS) - 1)) - 1) if word else None
