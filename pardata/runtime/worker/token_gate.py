"""Decides whether a source may send one more batch: there is a token, and memory for the batch on all its way."""

from __future__ import annotations

from typing import Final

from pardata.channel.tokens import Tokens
from pardata.memory.budget import LARGEST, Budget
from pardata.runtime.header import BLOCKED_NS
from pardata.runtime.worker.accounting import TimeAccount

# What a message costs by itself, some 150 us while arrays pass through the caches, is shared by so many bytes of items.
_MESSAGE_BYTES: Final = 2 << 20
_SHARE_OF_LIMIT: Final = 128  # each stage may have several messages


class TokenGate:
    """The tokens of a source, and the conditions under which it takes one.

    Parameters
    ----------
    chooses : bool
        A batch goes to the least loaded of several workers, so it is to be known how they are loaded.

    Attributes
    ----------
    message_bytes : int
        The most that large arrays in one message may have together.
    """

    __slots__ = ("_account", "_budget", "_chooses", "_is_successor", "_words", "message_bytes", "tokens")

    def __init__(
        self,
        tokens: Tokens,
        words: memoryview,
        budget: Budget,
        account: TimeAccount,
        is_successor: bool,
        chooses: bool,
    ) -> None:
        self.tokens = tokens
        self._words = words
        self._budget = budget
        self._account = account
        self._is_successor = is_successor
        self._chooses = chooses
        self.message_bytes = min(_MESSAGE_BYTES, budget.limit_bytes // _SHARE_OF_LIMIT)

    def take(self, number: int) -> int:
        """Return a token for batch `number`; waits until there is one, and memory for one more batch."""
        tokens = self.tokens
        if self._is_successor:  # the predecessor may have taken it, for the first batch that it had not published
            # SYNC POINT: token. Asked once: a predecessor has taken at most one cell for a batch that it did not
            # publish.
            self._is_successor = False
            held = tokens.holder(number)
            if held is not None:
                return held
        if self._chooses:
            self._account.collector.poll()
        if not self._may_begin():
            self._account.wait(BLOCKED_NS, self._may_begin)
        return tokens.take(number)

    def _may_begin(self) -> bool:
        """Return whether one more batch may set out; one alone may always be on its way."""
        tokens, budget = self.tokens, self._budget
        if not tokens.has_free:
            return False
        in_flight = tokens.in_flight
        largest = max(self._words[LARGEST], budget.largest_bytes())
        if not tokens.allows(largest) or not (in_flight < tokens.spec.window.fewest or budget.may_widen()):
            return False
        return not in_flight or budget.has_room_on_its_way(in_flight)
