"""The slots of a channel as its sender sees them: the free ones, the next one, and that of the last message."""

from __future__ import annotations

from pardata.channel.takeover import SlotWords, Step, decide
from pardata.channel.words import KIND, SEQUENCE, STAMP, TOP, TOUCHED, area_at, slot_at, words_bytes
from pardata.memory.budget import CONTROL
from pardata.memory.gaps import align
from pardata.memory.segment import PAGE_BYTES


class SenderSlots:
    """The slots of a `Sender`: it takes the next one, and frees those that are finished.

    Parameters
    ----------
    most : int
        How many slots the channel has.
    words, done : memoryview
        The words of both sides.
    header : memoryview
        Of this process's span; the memory that the channel takes is counted there.

    Attributes
    ----------
    top : int
        Slots that were ever used.
    last_stamp, last_slot : int
        Of the last message published; 0 and -1 if there is none.
    """

    __slots__ = ("_done", "_free", "_header", "_is_free", "_most", "_words", "last_slot", "last_stamp", "top")

    def __init__(self, most: int, words: memoryview, done: memoryview, header: memoryview) -> None:
        self._most = most
        self._words = words
        self._done = done
        self._header = header
        # Stamps rise by one, so the largest is that of the last message. A slot that is counted in TOP, and that never
        # got a stamp because the process was killed before, has 0 there, as in done: it is free.
        self.top = words[TOP]
        # Once, at the begin: from here on this process is the single writer, and counts in its own variables.
        stamps = [words[slot_at(slot) + STAMP] for slot in range(self.top)]
        self.last_stamp = max(stamps, default=0)
        self.last_slot = stamps.index(self.last_stamp) if self.last_stamp else -1
        self._free: list[int] = []
        self._is_free = bytearray(self.top)
        for slot in reversed(range(self.top)):
            if decide(SlotWords(stamps[slot], done[slot])) is Step.FREE_SLOT:  # SYNC POINT: commit
                self._add_free(slot)

    @property
    def outstanding(self) -> int:
        """Messages that the receiver has not finished, as far as is known here."""
        return self.top - len(self._free)

    @property
    def has_room(self) -> bool:
        """Return whether `Sender.prepare` is allowed."""
        return self.top < self._most or self.next() < self.top

    def next(self) -> int:
        """Return the slot for the next message: one that was used before, or else the first unused one.

        The slot of the last message is not used for the next one: a successor reads there what was published last.
        """
        free = self._free
        return free[-1] if len(free) > 1 or (free and free[0] != self.last_slot) else self.top

    def use(self, slot: int) -> None:
        """Take a slot.

        SYNC POINT: top. A slot is counted in `TOP` before a stamp is stored there, so a receiver that reads `TOP`
        behind a stamp of this channel looks at every slot that has an older one.
        """
        if slot < self.top:
            self._free.pop()
            self._is_free[slot] = False
            return
        # Killed between the two counts, a process leaves a page that its successor counts once more. The limit is not
        # exact to a page, so that needs no transaction.
        self._header[CONTROL] += words_bytes(slot + 1) - words_bytes(slot)
        self.top = self._words[TOP] = slot + 1
        self._is_free.append(False)

    def use_pledged(self, slot: int) -> None:
        """Take the slot of a message that a predecessor has pledged: it counts as used, and as free."""
        self._free.remove(slot)
        self._is_free[slot] = False

    def area(self, slot: int, nbytes: int) -> int:
        """Return the place of the contents of a message that does not fit into its record (bytes of this side)."""
        at = slot_at(slot) + TOUCHED
        if nbytes > self._words[at]:
            touched = align(nbytes, PAGE_BYTES)
            self._header[CONTROL] += touched - self._words[at]
            self._words[at] = touched
        return area_at(self._most, slot)

    def _add_free(self, slot: int) -> None:
        self._is_free[slot] = True  # beside the list, so that a stamp which is told twice frees a slot once
        if slot == self.last_slot:
            self._free.insert(0, slot)  # `next` takes from the other end, and not the only one
        else:
            self._free.append(slot)

    def last(self) -> tuple[int, int, int, int] | None:
        """Return (sequence, number, count, cell) of the last message published, from the words alone."""
        if not self.last_stamp:
            return None
        at = slot_at(self.last_slot)
        sequence, number, count, cell = self._words[at + SEQUENCE : at + KIND]
        return sequence, number, count, cell

    def free(self, slot: int, stamp: int) -> None:
        """Free a slot if it still has the message that was finished. SYNC POINT: commit."""
        if self._words[slot_at(slot) + STAMP] == stamp and not self._is_free[slot]:
            self._add_free(slot)
