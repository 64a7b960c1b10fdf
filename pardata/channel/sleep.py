"""Whether a process sleeps, in a word of its span: a sender rings for a sleeper alone, once for each sleep.

      word    n > 0: it is in its n-th sleep; -n: it is awake, after so many. The single writer is the sleeper

Both sides store first and look second (SYNC POINT: sleep). The sleeper stores that it sleeps, then looks for messages
that it has not seen; a sender stores a message, then looks whether the receiver sleeps. In between each passes a fence,
so at least one of them sees the other. A sleeper that nobody needs to ring for again finds everything before its next
sleep.
"""

from __future__ import annotations

import threading


class _Fence:
    """Has all that this thread has stored seen by others before it reads anything further.

    A free lock is taken by one atomic instruction, in each build of CPython, and processors that wake-ups are elided on
    (`channel.CAN_ELIDE_WAKEUPS`) have earlier stores done in front of one. Each fence is one thread's at a time, so its
    lock is free, unless an exception of a signal's handler came between the two steps, or this is called by one. A
    lock that is not free is no fence: another one takes its place.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def pass_through(self) -> None:
        lock = self._lock
        while not lock.acquire(False):
            lock = self._lock = threading.Lock()
        lock.release()


class Sleep:
    """The side of the process that sleeps; a successor goes on counting."""

    __slots__ = ("_fence", "_word")

    def __init__(self, word: memoryview) -> None:
        self._word = word
        self._fence = _Fence()

    def begin(self) -> None:
        """Say that this process sleeps from now on, in front of a last look for messages."""
        self._word[0] = abs(self._word[0]) + 1  # SYNC POINT: sleep
        self._fence.pass_through()

    def end(self) -> None:
        """Say that it is awake: it looks for messages by itself."""
        # Without a fence: a sender that still sees the sleep rings once too often, and no message is missed by that.
        self._word[0] = -abs(self._word[0])


class Waker:
    """The side of a sender."""

    __slots__ = ("_fence", "_rung_for", "_word")

    def __init__(self, word: memoryview) -> None:
        self._word = word
        self._fence = _Fence()
        self._rung_for = 0  # the last sleep that this process has rung for

    def is_needed(self) -> bool:
        """Return whether the receiver is to be rung for, behind the store of a message."""
        self._fence.pass_through()
        count = self._word[0]  # SYNC POINT: sleep
        if count <= 0 or count == self._rung_for:
            return False
        self._rung_for = count
        return True
