"""What a worker of each kind of stage does: loops over a port, the same in processes and in threads."""

from __future__ import annotations

import collections
import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pardata.channel.message import Batch
from pardata.errors import WorkerLostError
from pardata.pipeline.batcher import Batcher, Port, publish
from pardata.pipeline.handover import hand_over, is_nobody_elses
from pardata.pipeline.ordering import Arrival, InOrder
from pardata.runtime.faults import Fault
from pardata.runtime.program import StageFailure


def zip_batches(batches: list[Batch]) -> Batch:
    """Pair the items of batches of the same numbers; a number that is missing in one is missing in the result."""
    first = batches[0]
    if len(batches) == 1:
        return first
    if all(batch.positions is None for batch in batches):
        return first.with_items(list(zip(*(batch.items for batch in batches), strict=True)), None)
    tables = [
        dict(zip(range(batch.count) if batch.positions is None else batch.positions, batch.items, strict=True))
        for batch in batches
    ]
    common = [position for position in range(first.count) if all(position in table for table in tables)]
    return first.with_items([tuple(table[position] for table in tables) for position in common], common)


class ItemProgram:
    """One item in, one item (`map`, a join without a function) or one or none (`filter`) out."""

    redoable = True

    def __init__(
        self,
        name: str,
        fn: Callable[[Any], Any] | None,
        edges: int,
        ordered: bool,
        inplace: bool,
        is_filter: bool,
        skip: bool,
    ) -> None:
        self.name = name
        self.fn = fn
        self.edges = edges
        self.ordered = ordered
        self.inplace = inplace
        self.is_filter = is_filter
        self.skip = skip

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any]:
        """Return the order in which this stage takes its batches."""
        return InOrder(self.edges, following) if self.ordered or self.edges > 1 else Arrival()

    def run(self, port: Port) -> None:
        """Process batches until there are no more."""
        while self._step(port):
            pass

    def _step(self, port: Port) -> bool:
        batches = port.take()
        if batches is None:
            return False
        batch = zip_batches(batches)
        del batches
        publish(port, self.process(batch, port), self.name)
        del batch
        port.commit()
        return True

    def process(self, batch: Batch, port: Port) -> Batch:
        """Return the batch that `batch` becomes; takes the items out of `batch`."""
        items, batch.items = batch.items, []
        taken = len(items)
        if self.fn is None:
            port.count(taken)
            return batch.with_items(items, batch.positions)
        results: list[Any] = []
        lost: list[int] = []
        failed = 0
        for index in range(taken):
            port.attempt(batch.domain, batch.item_number(index))
            try:
                if self.is_filter:
                    if self.fn(items[index]):
                        results.append(items[index])
                    else:
                        lost.append(index)
                else:
                    results.append(self.fn(items[index]))
                    if taken > 1 and not is_nobody_elses(results):
                        items[index] = None  # it waits for the others, and the function may change it meanwhile
                        results += hand_over([results.pop()])[0]
            except Exception as error:
                fault = Fault.of(_without_frame(error), self.name, batch.item_number(index), items[index])
                if not self.skip:
                    raise StageFailure(fault, error) from None
                port.report(("skipped", fault, batch.domain))
                lost.append(index)
                failed += 1
            items[index] = None  # what the function has dropped is free from here on
        port.count(taken, len(lost) - failed, failed)
        if not lost:
            return batch.with_items(results, batch.positions)
        gone = set(lost)
        places = range(taken) if batch.positions is None else batch.positions
        return batch.with_items(results, [place for index, place in enumerate(places) if index not in gone])


def _without_frame(error: Exception) -> Exception:
    """Drop pardata's own frame from the top of a traceback: the user's begins below."""
    return error.with_traceback(error.__traceback__.tb_next if error.__traceback__ else None)


def _closing(iterator: Any) -> contextlib.AbstractContextManager[Any]:
    """Close a generator at the end of a block; other iterators have nothing to close."""
    return contextlib.closing(iterator) if inspect.isgenerator(iterator) else contextlib.nullcontext()


class SourceProgram:
    """Items from an iterable, or from a generator function that a successor can call again.

    A generator function must yield the same items when it is called again: after a kill, its successor calls it and
    skips what had been sent.
    """

    inplace = False
    redoable = True

    def __init__(self, name: str, make: Callable[[], Iterable[Any]], domain: int, chunksize: int | None) -> None:
        self.name = name
        self.make = make
        self.domain = domain
        self.chunksize = chunksize

    def order(self, following: dict[int, int]) -> Arrival[Any]:
        """Return an order: a source takes nothing."""
        return Arrival()

    def run(self, port: Port) -> None:
        """Send every item."""
        batcher = Batcher(port, self.name, self.domain, self.chunksize, counts=True)
        try:
            items = iter(self.make())
            port.expect_generator(items)
            self._resume(port, batcher, items)
            with _closing(items):
                self._send(port, batcher, items)
        except BaseException:
            batcher.abandon()
            raise
        batcher.close()

    def _resume(self, port: Port, batcher: Batcher, items: Iterator[Any]) -> None:
        """Skip what a dead predecessor had sent, finishing the batch that had not reached every edge."""
        point = port.resume_point()
        if point is None:
            return
        number, count, cell, missing = point
        collections.deque(itertools.islice(items, number), maxlen=0)
        again = list(itertools.islice(items, count))
        if len(again) < count:
            raise WorkerLostError(
                f"the process of source {self.name!r} was lost after {number + count} items, and its generator "
                f"function "
                f"yields fewer when it is called again: give the generator itself to run it in the main process"
            )
        if missing:
            port.publish(Batch(self.domain, number, count, cell, again))
        batcher.skip_to(number + count)

    def _send(self, port: Port, batcher: Batcher, items: Iterator[Any]) -> None:
        while True:
            port.attempt(self.domain, batcher.next_number)
            try:
                item = [next(items)]
            except StopIteration:
                return
            except Exception as error:
                error = _without_frame(error)
                raise StageFailure(Fault.of(error, self.name, batcher.next_number), error) from None
            batcher.append(item)


class PipeProgram:
    """A generator function over the items: a stateful filter. Its state dies with its worker: not redoable."""

    inplace = False
    redoable = False

    def __init__(
        self,
        name: str,
        fn: Callable[[Iterator[Any]], Iterable[Any]],
        domain: int,
        edges: int,
        ordered: bool,
        chunksize: int | None,
    ) -> None:
        self.name = name
        self.fn = fn
        self.domain = domain
        self.edges = edges
        self.ordered = ordered
        self.chunksize = chunksize
        self._number = -1

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any]:
        """Return the order in which the generator gets its items."""
        return InOrder(self.edges, following) if self.ordered or self.edges > 1 else Arrival()

    def run(self, port: Port) -> None:
        """Run the generator to its end, then let the rest of the input pass by."""
        batcher = Batcher(port, self.name, self.domain, self.chunksize, counts=False)
        inputs = self._items(port, batcher)
        try:
            outputs = self._outputs(inputs)
            port.expect_generator(outputs)
            with _closing(outputs):
                self._send(batcher, outputs)
        except BaseException:
            batcher.abandon()
            raise
        batcher.close()
        port.close_outputs()  # an early end is the end for those behind
        for _ in inputs:
            pass
        while (rest := port.take()) is not None:
            port.commit()
            del rest

    def _send(self, batcher: Batcher, outputs: Iterator[Any]) -> None:
        while True:
            try:
                item = [next(outputs)]
            except StopIteration:
                return
            except Exception as error:
                if isinstance(error, StageFailure):
                    raise
                error = _without_frame(error)
                raise StageFailure(Fault.of(error, self.name, self._number), error) from None
            batcher.append(item)

    def _outputs(self, inputs: Iterator[Any]) -> Iterator[Any]:
        made = self.fn(inputs)
        try:
            return iter(made)
        except TypeError:
            raise TypeError(
                f"a filter gets the iterator of all items and yields items; {self.name!r} returned a "
                f"{type(made).__name__}. For a function of one item use stream.map"
            ) from None

    def _items(self, port: Port, batcher: Batcher) -> Iterator[Any]:
        while True:
            batcher.flush()  # what the generator has yielded may be all there is for a long time
            batches = port.take()
            if batches is None:
                return
            batch = zip_batches(batches)
            del batches
            batch.items.reverse()
            taken = len(batch.items)
            while batch.items:
                self._number = batch.item_number(taken - len(batch.items))
                yield batch.items.pop()
            port.count(taken)
            del batch
            port.commit()
