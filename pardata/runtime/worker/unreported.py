"""Tells a worker's commits to the stages in front of it: several at a time cost one system call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pardata.channel.receiver import Claim
from pardata.channel.tokens import Retirer

_SHARE_OF_LIMIT: Final = 64  # commits are told at once if their blocks hold more than this part of the memory limit
_MOST_BYTES: Final = 2 << 20  # or more than this: a call costs little beside as much work, and a fresh block much


class UnreportedCommits:
    """Counts the commits, and the bytes in their blocks, of which the senders have not been told.

    Parameters
    ----------
    most : (int, int)
        So many commits are told together; the second number counts where they hold blocks.
    limit_bytes : int
        Memory limit of the run.
    retirers : dict
        Per sequence whose way ends here, the `Retirer` of its tokens: to be used before the commit.
    """

    __slots__ = ("_count", "_most", "_most_bytes", "_nbytes", "retirers")

    def __init__(self, most: tuple[int, int], limit_bytes: int, retirers: dict[int, Retirer]) -> None:
        self.retirers = retirers
        self._most = most
        self._most_bytes = min(limit_bytes // _SHARE_OF_LIMIT, _MOST_BYTES)
        self._count = self._nbytes = 0

    def add(self, claims: Sequence[Claim]) -> bool:
        """Add the commit of `claims`. Return whether all are to be told now; the count begins anew then."""
        has_blocks = False
        for claim in claims:
            for block in claim.anchors:
                self._nbytes += block.extent_bytes
                has_blocks = True
        self._count += 1
        # A bool is an index: 0 without blocks, 1 with.
        if self._count < self._most[has_blocks] and self._nbytes <= self._most_bytes:
            return False
        self._count = self._nbytes = 0
        return True
