"""The program of a generator filter: a generator function over the items, which numbers its outputs anew."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pardata.channel.takeover import StateWords, Step, decide
from pardata.codec.batch_codec import Batch
from pardata.codec.by_value import dumps
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder, InTurn
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.batch_size import Sizes
from pardata.pipeline.programs.batcher import Batcher, Port
from pardata.pipeline.programs.context import StageIdentity, Taken
from pardata.pipeline.programs.cuts import CutPort, FilterCuts
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.programs.pairing import Paired, Pairing
from pardata.pipeline.programs.user_code import ERRORS, closing, failure_of
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.worker.program import StageFailure, UnloadableError
from pardata.runtime.worker.state import Saved


def has_state(fn: object) -> bool:
    """Return whether another process can continue this generator filter after a kill."""
    return callable(getattr(fn, "snapshot", None)) and callable(getattr(fn, "restore", None))


def can_restore(fn: object) -> bool:
    """Return whether a run can go on with this filter: without a snapshot by the number of items that it has taken."""
    return callable(getattr(fn, "restore", None))


def is_redoable(stage: Stage) -> bool:
    """Return whether the state of a filter is saved for another process. A thread has no successor."""
    return has_state(stage.fn) and not stage.node.thread


def begin_filter(fn: Callable[[Iterator[Any]], Iterable[Any]], items: Iterator[Any], name: str) -> Iterator[Any]:
    """Return the iterator over a filter's outputs. An error says what it was called with: often `map` is meant."""
    try:
        made = fn(items)
    except ERRORS as error:
        if not isinstance(error, StageFailure):
            error.add_note(
                f"{name!r} was called with the iterator of all items. For a function of one item use stream.map"
            )
        raise
    try:
        return iter(made)
    except TypeError:
        raise TypeError(
            f"a filter gets the iterator of all items and yields items; {name!r} returned a {type(made).__name__}. For "
            f"a function of one item use stream.map"
        ) from None


class GeneratorProgram:
    """A generator function over the items: a stateful filter.

    Its state dies with its worker, unless it is an object with `snapshot` and `restore`. Then its state is saved when
    all outputs of a batch have been sent, before the batch is committed. A successor restores the state, takes the
    uncommitted batch again, and leaves out the outputs that its predecessor had sent.
    """

    inplace = False
    blames_senders = True

    def __init__(
        self,
        name: str,
        fn: Callable[[Iterator[Any]], Iterable[Any]],
        sequence: int,
        fanin: Fanin,
        sizes: Sizes,
        identity: StageIdentity,
        paired: list[Paired],
        is_sole_reader: bool,
        redoable: bool,
        sends_failures: bool,
        cuts: FilterCuts | None = None,
    ) -> None:
        self.name = name
        self.fn = fn
        self.sequence = sequence
        self.fanin = fanin
        self.sizes = sizes
        self.identity = identity
        self.paired = paired
        self.is_sole_reader = is_sole_reader
        self.redoable = redoable
        self.sends_failures = sends_failures  # see `Plan.sends_failures`
        self.cuts = cuts

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        """Return the order in which batches are taken."""
        return self.fanin.order(following, None if self.cuts is None else self.cuts.begins)

    def run(self, port: Port) -> None:
        """Run the generator to its end, then let the rest of the input pass by."""
        context = self.identity.enter(port)
        port.loaded()
        running = _GeneratorRun(self, port)
        context.at_work = running.taken
        if not running.has_ended:
            running.run()
        port.close_outputs()  # an early end of the generator is the end for its readers
        running.pass_by()


class _GeneratorRun:
    """One run of a `GeneratorProgram`."""

    def __init__(self, program: GeneratorProgram, port: Port) -> None:
        self._program = program
        bare = port
        if program.cuts is not None:
            port = CutPort(port, program.cuts)
        self._port = port
        self._fn: Any = program.fn
        if can_restore(program.fn):
            self._fn = copy.copy(self._fn)  # the threads of several runs have one object
        if program.cuts is not None:
            program.cuts.watch(self._fn, self)
        self._batcher = Batcher(bare, program.name, program.sequence, program.sizes, counts=False, cuts=program.cuts)
        self._saved = port.load_state() if can_restore(program.fn) else None
        self.next_output = self._saved.next_output if self._saved is not None else 0
        self._sent = port.resume_point() if program.redoable else 0  # a predecessor has sent as many
        # Outputs below `_sent` are made once more, and left out by `_send`.
        self._batcher.skip_to(max(self._sent, self.next_output))
        self._number = -1
        self.taken = Taken()
        self._inputs = self._items()
        self.has_ended = self._saved is not None and self._saved.has_ended
        if self._saved is not None and not self.has_ended:
            self._fn.restore(pickle.loads(self._saved.data))

    def run(self) -> None:
        try:
            outputs = self._outputs()
            self._port.expect_generator(outputs)
            with closing(outputs):
                self._send(outputs)
            if self.taken.failure is not None:  # the generator has caught it
                raise self.taken.failure
            self._batcher.close()
        except StageFailure as failure:
            if not self._program.sends_failures:
                self._batcher.abandon()
                raise
            self._end_with(failure)
        except BaseException:
            self._batcher.abandon()
            raise
        self.has_ended = True
        if self._program.redoable:
            self._port.save_state(Saved(b"", self._batcher.next_number, -1, -1, True))

    def pass_by(self) -> None:
        """Drop the rest of the input. Where nothing else reads it, its sources are to stop: they get no more tokens."""
        if self._program.is_sole_reader:
            self._port.keep_tokens()
        for _ in self._inputs:
            pass
        while self._drop():
            pass

    def _drop(self) -> bool:
        """Drop a batch, also one with failed items, which nobody has wanted; return False at the end."""
        with contextlib.suppress(UnloadableError):
            if self._port.take() is None:
                return False
        self._port.commit()
        return True

    def _end_with(self, failure: StageFailure) -> None:
        if self.next_output >= self._sent:
            self._batcher.close_with(failure)
        else:  # a predecessor has sent it
            self._batcher.close()

    def _send(self, outputs: Iterator[Any]) -> None:
        here = forked_child.generation
        while True:
            try:
                item = [next(outputs)]
            except StopIteration:
                leave_if_forked(here)
                return
            except StageFailure:
                raise
            except ERRORS as error:
                leave_if_forked(here, error)
                raise self.taken.failure or failure_of(error, self._program.name, self._number) from None
            leave_if_forked(here)  # before it asks for the lock, which the timer may have had when it was forked
            if self.next_output >= self._sent:
                self._batcher.append(item)
            self.next_output += 1

    def _outputs(self) -> Iterator[Any]:
        here = forked_child.generation
        try:
            return begin_filter(self._fn, self._inputs, self._program.name)
        except StageFailure:
            raise
        except ERRORS as error:
            leave_if_forked(here, error)
            raise self.taken.failure or failure_of(error, self._program.name, self._number) from None

    def _items(self) -> Iterator[Any]:
        port, here = self._port, forked_child.generation
        pairing = Pairing(self._program.paired) if self._program.paired else None
        while True:
            self._flush()  # the next input may take long, and the readers can work on these outputs
            batch, failure = self._next_batch(pairing)
            if batch is None:
                return
            sequence, number = batch.sequence, batch.number
            if self._saved is not None:
                saved, self._saved = self._saved, None  # it tells about the first batch alone
                if decide(StateWords((saved.sequence, saved.number), (sequence, number))) is Step.DROP_ITEMS:
                    batch.items.clear()
            batch.items.reverse()
            self.taken.batch = batch
            taken = len(batch.items)
            while batch.items:
                self._number = batch.item_number(taken - len(batch.items))
                yield batch.items.pop()
                leave_if_forked(here)
            port.count(taken)
            del batch
            if failure is not None and not self.has_ended:
                self.taken.failure = failure
                raise failure from None
            # SYNC POINT: save. In front of the commit: killed in between, the successor gets the batch again and finds
            # its numbers in the state, so it drops the items.
            self._save(sequence, number)
            port.commit()

    def _next_batch(self, pairing: Pairing | None) -> tuple[Batch | None, StageFailure | None]:
        """Return the next batch (None: there is none), up to an item that cannot be loaded, and the failure of that."""
        failed: tuple[int, StageFailure] | None = None
        try:
            batches = self._port.take()
        except UnloadableError as error:
            batches, failed = error.batches, error.failures()[0]
        if batches is None:
            self.taken.has_ended = True
            if pairing is not None:
                pairing.end()
            return None, None
        batch = join_batches(batches, self._program.fanin.policy)
        if failed is not None:
            batch = batch.before(failed[0])
        return batch if pairing is None else pairing.add(batch), None if failed is None else failed[1]

    def _flush(self) -> None:
        if not self.has_ended:
            self._batcher.flush()

    def _save(self, sequence: int, number: int) -> None:
        if self._program.redoable and not self.has_ended:
            self._batcher.flush()
            # Behind `flush`: all outputs of the batch are published, so the state is that behind all of them.
            data = dumps(self._fn.snapshot())
            self._port.save_state(Saved(data, self._batcher.next_number, sequence, number, False))


__all__ = ["GeneratorProgram", "begin_filter", "can_restore", "has_state", "is_redoable"]
