"""Stages that take from each other in one thread, without calls within calls: a chain may be of any length.

A stage is a generator. It yields either a batch that it has made, or an `OutputReader`; then the reader's next batch
is sent to it (None at the end). `engines.serial` resumes the stage that is waited for. Its list of waiting stages takes
the place of the stack that stages which call each other would need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from functools import cached_property
from typing import Protocol, TypeVar

from pardata.codec.access import Access
from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.ordering import InOrder, Policy
from pardata.pipeline.plan.stage import Edge, Stage
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.programs.pairing import Pairing
from pardata.runtime.isolation import isolate
from pardata.runtime.passed import Passed

T = TypeVar("T")
Made = Generator["Batch | OutputReader", "Batch | None", None]
Taking = Generator["OutputReader", "Batch | None", T]  # waits for readers, and returns a value at its end


class Giver:
    """A stage at work, and its readers."""

    def __init__(self, stage: Stage, passed: Passed | None) -> None:
        self.stage = stage
        self.passed = passed  # objects that its generator has handed on uncopied
        self.made: Made
        self.readers: list[OutputReader] = []
        self.has_ended = False

    @cached_property
    def access(self) -> Access | None:
        """The access of its reader, or of the readers of its branches; asked for when all of them are there.

        None: several read the same items, and each takes what it may change from what all may read.
        """
        accesses = {reader.access for reader in self.readers}
        branches = {reader.branch for reader in self.readers}
        return accesses.pop() if len(accesses) == 1 and len(branches) == len(self.readers) else None


class OutputReader:
    """A reader of the output of a stage: an input of another stage, or the run."""

    def __init__(self, giver: Giver, edge: Edge | None = None, access: Access = Access.READ) -> None:
        self.giver = giver
        self.batches: deque[Batch] = deque()
        self._edge = edge
        self.branch = None if edge is None else edge.branch
        self.access = access
        giver.readers.append(self)

    def take(self) -> Batch | None:
        """Return the next batch as this reader gets it; None if nothing is here."""
        if not self.batches:
            return None
        whole, edge = self.batches.popleft(), self._edge
        if edge is None:
            return whole
        batch = whole if edge.branch is None or whole.branches is None else whole.select(edge.branch)
        items = batch.items
        if self.giver.access is None:  # else they were isolated for this reader when they were made
            items, _ = isolate(list(items), Access.READ if self.access is Access.RESULT else self.access)
        sequence = edge.renamed.get(batch.sequence, batch.sequence)
        return Batch(sequence, batch.number, batch.count, batch.cell, items, batch.positions)


class Inputs(Protocol):
    """The inputs of a stage, as one."""

    def take(self) -> Taking[Batch | None]:
        """Return the next batch; None at the end."""


class InterleavedInputs:
    """Interleaves its inputs, or takes one after the other; a single one passes through.

    It goes to the one that has given least; `taken`: how much each had given in the run before.
    """

    def __init__(self, readers: list[OutputReader], policy: Policy, taken: list[int] | None = None) -> None:
        self._readers = list(readers)
        self._policy = policy
        self._taken = dict(zip(readers, taken or [0] * len(readers), strict=True))

    def take(self) -> Taking[Batch | None]:
        """Return the next batch; None at the end."""
        while self._readers:
            in_turn = self._policy != "sequence"
            reader = min(self._readers, key=self._taken.__getitem__) if in_turn else self._readers[0]
            batch = yield reader
            if batch is not None:
                self._taken[reader] += 1
                return batch
            self._readers.remove(reader)
        return None


class PairedInputs:
    """Pairs the items of its inputs by position."""

    def __init__(self, readers: list[OutputReader], pairing: Pairing) -> None:
        self._readers = readers
        self._pairing = pairing
        self._ended: set[int] = set()

    def take(self) -> Taking[Batch | None]:
        """Return the next batch; None at the end."""
        while (edge := self._pairing.behind(self._ended)) is not None:
            batch = yield self._readers[edge]
            if batch is not None:
                return self._pairing.add(batch)
            self._ended.add(edge)
        self._pairing.end()
        return None


class JoinedInputs:
    """Joins its inputs by number, as they come."""

    def __init__(self, readers: list[OutputReader], policy: Policy, following: dict[int, int]) -> None:
        self._readers = readers
        self._policy = policy
        self._order: InOrder[Batch] = InOrder(len(readers), following)

    def take(self) -> Taking[Batch | None]:
        """Return the next batch; None at the end."""
        while (joined := self._order.take_next()) is None:
            has_come = False
            for edge, reader in enumerate(self._readers):
                batch = yield reader
                if batch is not None:
                    self._order.add(edge, batch)
                    has_come = True
            if not has_come:
                return None
        return join_batches(joined, self._policy)
