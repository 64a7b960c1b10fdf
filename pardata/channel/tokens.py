"""The right to have one more batch in flight: a table of cells, taken at the source, freed at the end of every path.

      source's span                   span of each worker of a terminal (the last stage of a path)
      holder[cell]                    retired[cell]
      the batch that holds the cell   the last batch with this cell that this worker has retired

Both words are the number of a batch plus one; 0: none was there yet. Each has one writer, the source or that worker, so
a token is neither lost nor doubled when one of them dies: a successor reads the same words. A cell is free if on every
path some worker has retired the batch that holds it. Numbers rise, so a late retirement frees no later holder.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

from pardata.channel.channel import receive_all, try_send, words_at
from pardata.channel.takeover import CellWords, Step, decide
from pardata.channel.window import Window
from pardata.memory.segment import Segment

_PER_MESSAGE = 500


@dataclass(frozen=True)
class TokenSpec:
    """The places of a source's cells in the segment.

    Attributes
    ----------
    holders_at : int (bytes)
        The source's own words.
    retired_at : list
        Per terminal, the words of each of its workers.
    """

    window: Window
    holders_at: int
    retired_at: list[list[int]] = field(default_factory=list)

    @property
    def cells(self) -> int:
        """Return how many cells there are."""
        return self.window.most


@dataclass(frozen=True)
class TerminalSpec:
    """For one worker of the last stage of a path: the sequence whose tokens it retires, and the place of its words."""

    sequence: int
    cells: int
    retired_at: int


class TokenTable:
    """The words of all cells, for any process to read."""

    def __init__(self, spec: TokenSpec, segment: Segment) -> None:
        self.spec = spec
        self._holders = words_at(segment, spec.holders_at, 8 * spec.cells)
        self._retired = [[words_at(segment, at, 8 * spec.cells) for at in workers] for workers in spec.retired_at]

    def held_by(self) -> list[int]:
        """Return the numbers of the batches that hold a cell."""
        held = [(holder - 1, cell) for cell, holder in enumerate(self._holders.tolist()) if holder]
        return [number for number, cell in held if not self._is_retired(cell, number)]

    def _is_retired(self, cell: int, number: int) -> bool:
        """Return whether every path has freed the cell of batch `number`. SYNC POINT: retire."""
        return all(any(words[cell] > number for words in workers) for workers in self._retired)


class Tokens(TokenTable):
    """The source's side."""

    def __init__(self, spec: TokenSpec, segment: Segment, socks: list[socket.socket]) -> None:
        super().__init__(spec, segment)
        self.socks = socks
        # The last one that came back is taken first, so that cells that are never needed take no memory.
        self._free = [cell for cell in reversed(range(spec.cells)) if self._is_free(cell)]
        self._known = set(self._free)  # the same cells: one may be told free by several workers, and counts once
        self._taken: set[int] = set()  # cells in flight that this process has taken, not a dead predecessor
        self.came_out = 0  # batches of this process

    @property
    def in_flight(self) -> int:
        """Batches that hold a token."""
        return self.spec.cells - len(self._free)

    @property
    def has_free(self) -> bool:
        """Return whether `take` is allowed."""
        return bool(self._free)

    def allows(self, largest_bytes: int) -> bool:
        """Return whether `take` is allowed, and the window open for one more."""
        return bool(self._free) and self.spec.window.allows(self.in_flight, self.came_out, largest_bytes)

    def take(self, number: int) -> int:
        """Return a free cell, now held by batch `number`."""
        cell = self._free.pop()
        self._known.discard(cell)
        self._taken.add(cell)
        # SYNC POINT: token. Stored before the batch is published, so a successor that makes the batch again finds the
        # cell (`holder`), and one that finds the batch published does not take a second one.
        self._holders[cell] = number + 1
        return cell

    def holder(self, number: int) -> int | None:
        """Return the cell that a dead predecessor took for batch `number`, if any. SYNC POINT: token."""
        for cell in range(self.spec.cells):
            if decide(CellWords(self._holders[cell], number, cell in self._known)) is Step.KEEP_CELL:
                return cell
        return None

    def receive(self, sock: socket.socket) -> None:
        """Free the cells that the terminals have retired."""
        for data in receive_all(sock):
            for (cell,) in struct.iter_unpack("<q", data):
                if cell not in self._known and self._is_free(cell):
                    # In this set a cell that is told again, by another worker or after `resume`, is found to be free
                    # already.
                    self._known.add(cell)
                    if cell in self._taken:
                        self._taken.discard(cell)
                        self.came_out += 1
                    self._free.append(cell)

    def _is_free(self, cell: int) -> bool:
        holder = self._holders[cell]
        return not holder or self._is_retired(cell, holder - 1)


class Retirer:
    """A terminal's side: one sequence's tokens, from one worker."""

    def __init__(self, spec: TerminalSpec, segment: Segment, sock: socket.socket) -> None:
        self._words = words_at(segment, spec.retired_at, 8 * spec.cells)
        self._sock = sock
        self._owed: list[int] = []

    def retire(self, cell: int, number: int) -> None:
        """Free the cell of batch `number`. Repeating it is harmless."""
        self._words[cell] = max(self._words[cell], number + 1)  # SYNC POINT: retire. Before the source is told
        self._owed.append(cell)

    def resume(self) -> None:
        """As a successor, tell the source all cells again: the predecessor may have retired some and not told them."""
        self._owed += range(len(self._words))

    @property
    def owes(self) -> bool:
        """Return whether `flush` has cells to tell."""
        return bool(self._owed)

    def flush(self) -> bool:
        """Tell the source. Return False if its socket is full: try again later."""
        while self._owed:
            part = self._owed[:_PER_MESSAGE]
            if not try_send(self._sock, struct.pack(f"<{len(part)}q", *part)):
                return False
            del self._owed[:_PER_MESSAGE]
        return True
