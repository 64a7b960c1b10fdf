"""The program of a stage that takes one item at a time."""

from __future__ import annotations

import contextlib
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from operator import index as as_int
from types import CoroutineType
from typing import Any, Final, NamedTuple

from pardata.codec.batch_codec import EVERY, Batch
from pardata.codec.unpicklable import why_unpicklable
from pardata.errors import SerializationError
from pardata.pipeline.plan.error_policy import Errors
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder, InTurn
from pardata.pipeline.programs.batcher import Port, publish
from pardata.pipeline.programs.context import Place, StageContext, StageIdentity, occurrence_of
from pardata.pipeline.programs.dead_letter import letter_of
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.programs.user_code import ERRORS, failure_of, not_awaited, opened
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.call_items import for_attempt, for_writing
from pardata.runtime.events import ItemSkipped
from pardata.runtime.faults import NO_ITEM, Fault
from pardata.runtime.isolation import settle
from pardata.runtime.worker.program import StageFailure, UnloadableError

_ANY: Final = Fanin()
_NOBODY: Final = StageIdentity()


def branch_of(key: Any, branches: int) -> int:
    """Return the branch of a key: the same in every process and in every run."""
    try:
        return as_int(key) % branches
    except TypeError:
        data = key.encode() if isinstance(key, str) else key if isinstance(key, bytes) else pickle.dumps(key, 5)
        return zlib.crc32(data) % branches


class LostItems(NamedTuple):
    """The items of a batch that could not be loaded, by their places: skipped ones, and such as end the run."""

    faults: list[tuple[int, Fault]]
    failures: list[tuple[int, StageFailure]]


class _Made:
    """The results of a batch so far, and the places that have none."""

    def __init__(self, batch: Batch, has_branches: bool) -> None:
        self._batch = batch
        self.results: list[Any] = []
        self.branches: list[int] | None = [] if has_branches else None
        self.lost: set[int] = set()
        self.failed = 0

    @property
    def place(self) -> Place:
        """That of the item at work: all in front of it have a result, or are lost."""
        batch, index = self._batch, len(self.results) + len(self.lost)
        return batch.sequence, batch.item_number(index), occurrence_of(batch, index)

    def add(self, result: Any, branch: int = 0) -> None:
        """Add a result."""
        self.results.append(result)
        if self.branches is not None:
            self.branches.append(branch)


@dataclass(eq=False)
class ItemProgram:
    """One item in, one item (`map`, a join without a function), one or none (`filter`) or none (a sink) out.

    A partition gives each item to one of its branches, by key; a scatter gives a batch to a branch that is free.
    """

    name: str
    fn: Callable[[Any], Any] | None
    what: Kind = Kind.MAP
    fanin: Fanin = _ANY
    inplace: bool = False
    errors: Errors = "raise"
    retries: int = 0
    branches: int = 1
    identity: StageIdentity = _NOBODY
    writable: bool = False
    sends_failures: bool = False  # see `Plan.sends_failures`
    redoable = True
    blames_senders = True

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        """Return the order in which batches are taken."""
        return self.fanin.order(following)

    @property
    def given(self) -> Callable[[Any], Any] | None:
        """The function that makes the item that an attempt gets; None: it gets the item itself."""
        if self.writable:
            return for_writing
        return for_attempt if self.retries else None

    def opened(self) -> contextlib.AbstractContextManager[Any]:
        """Give a worker what `process` calls."""
        return opened(self.fn, self.retries, self.name, self.given)

    def run(self, port: Port) -> None:
        """Process batches until there are no more."""
        context = self.identity.enter(port)
        with self.opened() as fn:
            port.loaded()
            while self._step(port, fn, context):
                pass
            self.end(port, fn)

    def end(self, port: Port, fn: Callable[[Any], Any] | None) -> None:
        """Do what is to be done when there are no more batches: nothing."""

    def _step(self, port: Port, fn: Callable[[Any], Any] | None, context: StageContext) -> bool:
        lost = None
        try:
            batches = port.take()
        except UnloadableError as error:
            batches, lost = error.batches, self.lost_of(error)
        if batches is None:
            return False
        batch = join_batches(batches, self.fanin.policy)
        del batches
        made = self.process(batch, port, fn, context)
        if lost is not None:
            made = self._with_lost(made, lost, port)
        try:
            publish(port, made, self.name)
        except StageFailure as failure:
            if not self.goes_on_without(failure):
                raise
            publish(port, self._without_unpicklable(made, port), self.name)
        del batch, made
        port.commit()
        return True

    def lost_of(self, error: UnloadableError) -> LostItems:
        """Return the items that could not be loaded, if the run goes on without them; else raise the failure."""
        is_raised = self.errors == "raise"
        failures = error.failures(is_raised)
        if failures and not self.sends_failures:
            raise failures[0][1] from None
        return LostItems([] if is_raised else error.faults(self.name), failures)

    def goes_on_without(self, failure: StageFailure) -> bool:
        """Return whether the run goes on without results that could not be sent."""
        return (self.errors != "raise" or self.sends_failures) and isinstance(failure.original, SerializationError)

    def process(self, batch: Batch, port: Port, fn: Callable[[Any], Any] | None, context: StageContext) -> Batch:
        """Return the batch that `batch` becomes; takes the items out of `batch`."""
        items, batch.items = batch.items, []
        taken = len(items)
        if fn is None:
            return self._passed_on(batch, items, port)
        context.at_work = out = _Made(batch, self.branches > 1)
        here = forked_child.generation
        for index in range(taken):
            try:
                port.attempt(batch.sequence, batch.item_number(index))
                if not self._do(fn, items, index, out):
                    out.lost.add(index)
            except ERRORS as error:
                leave_if_forked(here, error)
                self._fail(error, batch, items, index, out, port)
                if self.errors == "raise":  # nothing behind it is wanted
                    out.lost.update(range(index + 1, taken))
                    break
            items[index] = None  # the item is free from here on, unless the function has kept it
        context.at_work = None  # it has the results, which are not to be kept for longer than they are needed
        dropped = 0 if self.what is Kind.SINK else len(out.lost) - (out.failed if self.errors == "skip" else 0)
        port.count(taken, dropped, out.failed)
        places = batch.positions
        if out.lost:
            all_places = range(taken) if places is None else places
            places = [place for index, place in enumerate(all_places) if index not in out.lost]
        made = batch.with_items(out.results, places)
        made.branches = out.branches
        return made

    def _passed_on(self, batch: Batch, items: list[Any], port: Port) -> Batch:
        """Return the batch of a stage without a function: the same items, of a scatter for one of its branches."""
        port.count(len(items))
        made = batch.with_items(items, batch.positions)
        if self.what is Kind.SCATTER and self.branches > 1:
            made.branches = [port.choose(self.branches)] * len(items)
        return made

    def _do(self, fn: Callable[[Any], Any], items: list[Any], index: int, out: _Made) -> bool:
        """Do one item; return whether it has a result."""
        if self.what is Kind.MAP:
            results = out.results
            results.append(fn(items[index]))
            if type(results[-1]) is CoroutineType:
                raise not_awaited(results.pop())
            if len(items) > 1:  # it waits for the others, and the function may change it meanwhile
                items[index] = None  # the result may be the item itself
                settle(results)
            if out.branches is not None:
                out.branches.append(0)
            return True
        found = fn(items[index])
        if type(found) is CoroutineType:
            raise not_awaited(found)
        if self.what is Kind.SINK or (self.what is Kind.FILTER and not found):
            return False
        out.add(items[index], branch_of(found, self.branches) if self.what is Kind.PARTITION else 0)
        return True

    def _fail(self, error: BaseException, batch: Batch, items: list[Any], index: int, out: _Made, port: Port) -> None:
        failure = failure_of(error, self.name, batch.item_number(index), items[index])
        if self.errors == "raise":
            if not self.sends_failures:
                raise failure from None
            out.add(port.failed_item(failure), EVERY)
            return
        port.report(ItemSkipped(failure.fault, batch.sequence, self.errors == "skip"))
        out.failed += 1
        if self.errors == "stream":
            out.add(letter_of(failure.fault, None if self.inplace else items[index]), 1)
        else:
            out.lost.add(index)

    def _with_lost(self, made: Batch, lost: LostItems, port: Port) -> Batch:
        """Return a batch with dead letters for the items that could not be loaded, if there is a stream for them."""
        for _, fault in lost.faults:
            port.report(ItemSkipped(fault, made.sequence, self.errors == "skip"))
        port.count(len(lost.faults), 0, len(lost.faults))
        rows = list(zip(made.places, made.items, made.branches or [0] * len(made.items), strict=True))
        rows += [(place, port.failed_item(failure), EVERY) for place, failure in lost.failures]
        if self.errors == "stream":
            rows += [(place, letter_of(fault, None), 1) for place, fault in lost.faults]
        rows.sort(key=lambda row: row[0])
        sent = made.with_items([item for _, item, _ in rows], [place for place, _, _ in rows])
        sent.branches = None if made.branches is None else [branch for _, _, branch in rows]
        return sent

    def _without_unpicklable(self, made: Batch, port: Port) -> Batch:
        """Return a batch without the results that cannot be sent on; those have failed."""
        branches = made.branches or [0] * len(made.items)
        kept = []
        for index, (item, place, branch) in enumerate(zip(made.items, made.places, branches, strict=True)):
            why_not = why_unpicklable(item)
            if why_not is None:
                kept.append((item, place, branch))
                continue
            refused = SerializationError(f"the result cannot be sent on: {why_not}")
            fault = Fault.of(refused, self.name, made.item_number(index), NO_ITEM)
            if self.errors == "raise":
                kept.append((port.failed_item(StageFailure(fault, refused)), place, EVERY))
                continue
            port.report(ItemSkipped(fault, made.sequence, self.errors == "skip"))
            port.count(0, 0, 1)
            if self.errors == "stream":
                kept.append((letter_of(fault, None), place, 1))
        sent = made.with_items([item for item, _, _ in kept], [place for _, place, _ in kept])
        sent.branches = None if made.branches is None else [branch for _, _, branch in kept]
        return sent
