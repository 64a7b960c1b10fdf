"""Items that no worker is to try again: the parent notes them for a successor in words of its span.

The parent writes while no process has the span: after a death, before the successor starts.
"""

from __future__ import annotations

from typing import Final

from pardata.errors import DeadlineExceeded, PardataError, WorkerLostError
from pardata.memory.segment import PAGE_BYTES
from pardata.process.exit_status import describe_exit
from pardata.runtime.header import batch_of_word, batch_word

POISON_BYTES: Final = 4 * PAGE_BYTES
_ENTRY: Final = 4  # words: item, how often, exit status, time limit in ns (0: it was not that)
_ENTRIES: Final = POISON_BYTES // 8 // _ENTRY - 1  # the first one counts


def note_poison_item(words: memoryview, item: tuple[int, int], times: int, status: int | None, limit_s: float) -> None:
    """Note an item: (sequence, number). The oldest note is overwritten; only those of the batch at hand are of use."""
    at = _ENTRY * (1 + words[0] % _ENTRIES)
    words[at + 1], words[at + 2], words[at + 3] = times, status or 0, int(limit_s * 1e9)
    words[at] = batch_word(*item)
    words[0] += 1


def poison_items(words: memoryview, label: str) -> dict[tuple[int, int], PardataError]:
    """Return the notes: per item, the error that is raised in place of the call."""
    found = {}
    for entry in range(min(words[0], _ENTRIES)):
        word, times, status, limit_ns = words[_ENTRY * (entry + 1) : _ENTRY * (entry + 2)]
        item = batch_of_word(word)
        if item is not None:
            found[item] = explain(label, f"item {item[1]}", times, status, limit_ns / 1e9)
    return found


def explain(label: str, what: str, times: int, status: int | None, limit_s: float) -> PardataError:
    """Return the error for an item that was tried `times` times: it is too slow if there is a limit, else it kills."""
    if limit_s:
        tries = "" if times == 1 else f", {times} times"
        return DeadlineExceeded(f"{label}: {what} took longer than timeout_s={limit_s:g}{tries}; its worker was killed")
    return WorkerLostError(
        f"{label}: {times} worker processes were lost while they worked on {what}, the last one "
        f"{describe_exit(status)}. Either this makes the function crash or exit, or it needs more memory than there is"
    )
