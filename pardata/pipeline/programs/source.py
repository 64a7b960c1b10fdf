"""The program of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from pardata.errors import WorkerLostError
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder, InTurn
from pardata.pipeline.programs.batch_size import Sizes
from pardata.pipeline.programs.batcher import Batcher, Port
from pardata.pipeline.programs.context import StageIdentity
from pardata.pipeline.programs.cuts import Clock
from pardata.pipeline.programs.user_code import ERRORS, closing, failure_of
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.worker.program import StageFailure

_NOTHING: Final = object()


class SourceProgram:
    """Items from an iterable, or from a generator function that a successor can call again.

    A generator function must yield the same items when it is called again: after a kill, its successor calls it and
    skips the items that had been sent.
    """

    inplace = False
    redoable = True
    fanin = Fanin()  # takes nothing

    def __init__(
        self, name: str, make: Callable[..., Iterator[Any]], sequence: int, sizes: Sizes, identity: StageIdentity,
        begin: int = 0, cuts: Cuts | None = None, sends_failures: bool = False,
    ) -> None:  # fmt: skip
        self.name = name
        self.make = make
        self.sequence = sequence
        self.sizes = sizes
        self.identity = identity
        self.begin = begin  # number of the first item that `make` gives
        self.cuts = cuts
        self.sends_failures = sends_failures  # see `Plan.sends_failures`

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        """Return the order in which batches are taken."""
        return self.fanin.order(following)

    def run(self, port: Port) -> None:
        """Send every item."""
        self.identity.enter(port)
        port.loaded()
        clock = None if self.cuts is None else Clock(self.cuts, self.begin)
        batcher = Batcher(port, self.name, self.sequence, self.sizes, counts=True, cuts=clock)
        try:
            items = self.make(port.poll)
            port.expect_generator(items)
            with closing(items):
                if self._resume(port, batcher, items):
                    self._send(port, batcher, items)
            batcher.close()
        except StageFailure as failure:
            if not self.sends_failures:
                batcher.abandon()
                raise
            batcher.close_with(failure)
        except BaseException:
            batcher.abandon()
            raise

    def _resume(self, port: Port, batcher: Batcher, items: Iterator[Any]) -> bool:
        """Skip the items that a dead predecessor had sent; return False if the last of them was its failure."""
        here = forked_child.generation
        sent = max(port.resume_point(), self.begin)
        for number in range(self.begin, sent):
            try:
                item = next(items, _NOTHING)
            except ERRORS as error:
                leave_if_forked(here, error)
                if self.sends_failures and number == sent - 1:
                    return False
                raise failure_of(error, self.name, number) from None
            if item is _NOTHING:
                raise WorkerLostError(
                    f"the process of source {self.name!r} was lost after {sent} items, and its generator function "
                    f"yields only {number} when it is called again: give the generator itself to run it in the main "
                    f"process"
                )
        batcher.skip_to(sent)
        return True

    def _send(self, port: Port, batcher: Batcher, items: Iterator[Any]) -> None:
        here = forked_child.generation
        while True:
            port.attempt(self.sequence, batcher.next_number)
            try:
                item = [next(items)]
            except StopIteration:
                return
            except ERRORS as error:
                leave_if_forked(here, error)
                raise failure_of(error, self.name, batcher.next_number) from None
            leave_if_forked(here)  # before it asks for the lock, which the timer may have had when it was forked
            batcher.append(item)
