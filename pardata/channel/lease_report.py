"""The leases that a receiver still holds, reported to the sender when one of the two has died.

A dead process takes along notes of leases that have ended: a receiver those that it had not sent yet, a sender those
that it had read from its socket and not stored. The report replaces them.

The report is one message, or several where many leases are held: some parts, then the rest, which counts the parts.

    part    HOLDS, row, row, ...
    rest    HELLO, number of parts, newest, number of unfinished, stamp, stamp, ...

`newest` is the stamp of the last message that the receiver knew of, and the stamps are those of messages up to it that
it had not finished.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from pardata.channel.channel import HELLO, HOLDS, WORDS_PER_MESSAGE


class LeaseReport(NamedTuple):
    """All leases of messages up to `newest` have ended, but for those of `unfinished` messages and of `held` rows."""

    newest: int
    unfinished: set[int]
    held: set[int]


def encode_report(held: list[int], newest: int, unfinished: Iterable[int]) -> list[bytes]:
    """Return the messages of a report."""
    parts = [held[at : at + WORDS_PER_MESSAGE] for at in range(0, len(held), WORDS_PER_MESSAGE)]
    stamps = list(unfinished)
    rest = array("q", [HELLO, len(parts), newest, len(stamps), *stamps])
    return [*(array("q", [HOLDS, *part]).tobytes() for part in parts), rest.tobytes()]


class ReportReader:
    """Puts the messages of reports together."""

    def __init__(self) -> None:
        self._parts: list[memoryview] = []

    def take(self, words: memoryview) -> LeaseReport | None:
        """Take in a message; return the report that it completes.

        A receiver that died between two parts has left some, and its successor's report comes behind them.
        """
        if words[0] == HOLDS:
            self._parts.append(words[1:])
            return None
        count, newest, unfinished = words[1:4]
        parts, self._parts = self._parts, []
        if count > len(parts):
            return None
        own = parts[len(parts) - count :]
        return LeaseReport(newest, set(words[4 : 4 + unfinished]), {row for part in own for row in part})
