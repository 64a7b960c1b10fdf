"""Collects small items into batches, and sends an unfinished batch after `LATENCY_S`."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, Protocol

from pardata.codec.batch_codec import INLINE_BYTES, Batch
from pardata.codec.unpicklable import why_unpicklable
from pardata.errors import BrokenError, CapacityError, SerializationError
from pardata.memory.shared_array import is_array
from pardata.pipeline.programs.batch_size import BatchSize, Sizes
from pardata.process.capacity import explained
from pardata.runtime.events import Failed, WorkerEvent
from pardata.runtime.faults import Fault
from pardata.runtime.isolation import is_settled, isolate
from pardata.runtime.passed import Passed
from pardata.runtime.worker.program import TIMER_NAME, FailedItem, StageFailure
from pardata.runtime.worker.state import Saved

# A batch leaves after this long even if it is not full: its source may be waiting for its next item.
LATENCY_S: Final = 0.005
_POLL_EACH: Final = 16  # messages of a fixed size; a wait, and a choice among workers, looks anyway


class Port(Protocol):
    """The surroundings of a program, as far as it uses them (see `runtime.worker.port.WorkerPort`)."""

    lock: threading.RLock

    @property
    def index(self) -> int: ...
    @property
    def is_thread(self) -> bool: ...
    def take(self) -> list[Batch] | None: ...
    def publish(self, batch: Batch) -> None: ...
    def commit(self) -> None: ...
    def token(self, number: int) -> int: ...
    def keep_tokens(self) -> None: ...
    def count(self, items: int, dropped: int = 0, failed: int = 0) -> None: ...
    def attempt(self, sequence: int, number: int) -> None: ...
    def report(self, event: WorkerEvent) -> None: ...
    def failed_item(self, failure: StageFailure) -> FailedItem: ...
    def choose(self, branches: int) -> int: ...
    def load_state(self) -> Saved | None: ...
    def save_state(self, saved: Saved) -> None: ...
    def loaded(self) -> None: ...
    def poll(self) -> None: ...
    def close_outputs(self) -> None: ...
    def expect_generator(self, generator: object) -> None: ...
    def resume_point(self) -> int: ...
    def heaviest_item_bytes(self) -> float: ...
    @property
    def passed(self) -> Passed | None: ...  # objects that a generator has handed on uncopied; None: none are
    @property
    def message_bytes(self) -> int: ...
    @property
    def last_bytes(self) -> int: ...
    @property
    def came_out(self) -> int: ...


class Marking(Protocol):
    """Marks cuts."""

    def mark(self, number: int) -> int:
        """Return the flag of a batch that begins with an item."""


def publish(port: Port, batch: Batch, stage: str) -> None:
    """Publish a batch; an error names stage and item, and the part of it that cannot be sent."""
    try:
        port.publish(batch)
    except CapacityError as error:
        raise StageFailure(Fault.of(error, stage, batch.number), error) from None
    except (BrokenError, StageFailure):
        raise
    except Exception:
        why_not = next(filter(None, map(why_unpicklable, batch.items)), None)
        if why_not is None:
            raise  # it was not because of the items
        refused = SerializationError(
            f"the result of stage {stage!r} for item {batch.number} cannot be sent on: {why_not}"
        )
        raise StageFailure(Fault.of(refused, stage, batch.number), refused) from None


class Batcher:
    """Collects items into batches of a new numbering and publishes them.

    Small items are batched, as `BatchSize` says, unless `chunksize` says how many. An item that is a large array leaves
    alone, and so does one of which a stage makes a large array. `cuts`, of a run with a checkpoint, says in front of
    which batches one lies.
    """

    def __init__(
        self,
        port: Port,
        stage: str,
        sequence: int,
        sizes: Sizes,
        counts: bool,
        cuts: Marking | None = None,
    ) -> None:
        self._port = port
        self._cuts = cuts
        self._stage = stage
        self._failure: BaseException | None = None
        self._counts = counts  # a source counts the items that it sends; a filter those that it takes, elsewhere
        self._sequence = sequence
        self._fixed = sizes.fixed
        self._target = sizes.fixed or 1
        self._batch_size = BatchSize(sizes.width, time.perf_counter())
        self._items: list[Any] = []
        self._number = 0
        self._sent = 0  # messages
        self._flusher: _Flusher | None = None

    def skip_to(self, number: int) -> None:
        """Go on with item `number`."""
        self._number = number

    def append(self, items: list[Any]) -> None:
        """Add one item, in a list, which is emptied: so the batch is the only one to hold the item."""
        with self._port.lock:
            if self._failure is not None:
                raise self._failure
            item_bytes = items[0].nbytes if is_array(items[0]) else 0
            most = self._target
            if self._fixed is None and item_bytes >= INLINE_BYTES:
                most = min(most, self._port.message_bytes // item_bytes)
            if most < 2:
                if self._items:
                    self.flush()
                self._publish(items)
                return
            if len(self._items) + 1 >= most:
                self._items.append(items.pop())
                self.flush()
                return
            # It waits, and the generator may change it meanwhile.
            if is_settled(items):
                self._items.append(items.pop())
            else:
                self._items += isolate(items, passed=self._port.passed, number=self.next_number)[0]
            if self._fixed is None and len(self._items) == 1:
                self._flush_soon()

    def flush(self) -> None:
        """Publish the collected items."""
        with self._port.lock:
            if self._failure is not None:
                raise self._failure
            if self._items:
                items, self._items = self._items, []
                self._publish(items)

    def _send(self, items: list[Any], count: int) -> None:
        cell = self._port.token(self._number)
        if self._cuts is not None:
            cell |= self._cuts.mark(self._number)
        publish(self._port, Batch(self._sequence, self._number, count, cell, items), self._stage)

    def _publish(self, items: list[Any]) -> None:
        count = len(items)
        self._send(items, count)
        if self._counts:
            self._port.count(count)
        self._number += count
        items.clear()
        self._sent += 1
        if self._fixed is None:
            self._port.poll()
            self._adapt(count)
        elif not self._sent % _POLL_EACH:
            self._port.poll()

    def _adapt(self, count: int) -> None:
        port, now = self._port, time.perf_counter()
        self._batch_size.sent(count, now)
        self._batch_size.came_out(port.came_out, now)
        self._target = self._batch_size.items
        if self._target > 1:
            item_bytes = max(port.last_bytes / count, port.heaviest_item_bytes())
            if item_bytes >= INLINE_BYTES:
                self._target = max(1, min(self._target, int(port.message_bytes / item_bytes)))

    def _flush_soon(self) -> None:
        if self._flusher is None:
            self._flusher = _Flusher(self)
        self._flusher.wake()

    def flush_late(self) -> bool:
        """Flush for the timer: an error fails the run, even while the source waits. Return whether there was none."""
        try:
            self.flush()
        except StageFailure as failure:
            self._failure = failure
            self._port.report(Failed(failure.fault))
        except BaseException as failure:  # cancelled, or the run is gone
            self._failure = failure
        return self._failure is None

    def close(self) -> None:
        """Publish the rest and stop the timer."""
        if self._flusher is not None:
            self._flusher.stop()
        self.flush()

    def close_with(self, failure: StageFailure) -> None:
        """Publish the rest and a failure behind it, and stop the timer."""
        self.close()
        with self._port.lock:
            self._send([self._port.failed_item(failure)], 1)
            self._number += 1

    def abandon(self) -> None:
        """Stop the timer and drop the collected items."""
        self._items.clear()
        if self._flusher is not None:
            self._flusher.stop()

    @property
    def next_number(self) -> int:
        """Number of the next item that is appended."""
        return self._number + len(self._items)

    @property
    def first_number(self) -> int | None:
        """Number of the first collected item, None if there is none; it tells one batch from the next."""
        return self._number if self._items else None


class _Flusher:
    """A timer: a batch that was begun and not filled within `LATENCY_S` leaves as it is."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._begun = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=TIMER_NAME, daemon=True)
        with explained("the timer of a stage"):
            self._thread.start()

    def wake(self) -> None:
        if not self._begun.is_set():
            self._begun.set()

    def stop(self) -> None:
        self._stopped.set()
        self._begun.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._begun.wait()
            self._begun.clear()  # before looking at `_stopped`, which is set before `_begun`
            first = self._batcher.first_number
            if self._stopped.wait(LATENCY_S):
                return
            if first is not None and first == self._batcher.first_number:
                if not self._batcher.flush_late():
                    return
            elif self._batcher.first_number is not None:
                self._begun.set()
