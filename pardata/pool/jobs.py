"""What a pool works on: a job hands out tasks one by one and takes in what came of them."""

from __future__ import annotations

import inspect
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Protocol

from pardata.memory.home import home
from pardata.pool.chunking import Chunks
from pardata.pool.tasks import CallTask, CodeAddress, MapTask, Outcome
from pardata.runtime.wiring import HomeSink, encode_program

Task = Any  # one of the tuples in `pool.tasks`


class Job(Protocol):
    """All of this is called by the pool's thread."""

    @property
    def exhausted(self) -> bool:
        """Whether `next_task` will never return a task again."""

    def next_task(self) -> Task | None:
        """Return the next task; None if there is none now."""

    def finish(self, task: Task, outcome: Outcome) -> None:
        """Take in what came of a task."""

    def fail(self, task: Task | None, error: BaseException) -> None:
        """Take in that a task could not be sent or was lost; None: that the pool has ended."""


def name_of(fn: object) -> str:
    """Return the name of a function for messages."""
    return f"the function {getattr(fn, '__name__', fn)!r}"


def is_importable(fn: object) -> bool:
    """Whether a worker finds the function under its name: then it is the same whenever it is sent."""
    module = getattr(fn, "__module__", None)
    if module in (None, "__main__") or not (inspect.isfunction(fn) or inspect.isbuiltin(fn)):
        return False
    return getattr(sys.modules.get(str(module)), getattr(fn, "__qualname__", ""), None) is fn


class Code:
    """An encoded function in the main process's arena; it must live as long as a task that names it."""

    _keys = itertools.count()

    def __init__(self, fn: object, what: str) -> None:
        memory = home()
        encoded = encode_program(fn, what, fn, HomeSink(memory))
        size = len(encoded.payload)
        self._anchors = encoded.anchors
        # What tells it from others; None if it has captured large arrays, which the bytes do not hold.
        self.payload = None if encoded.anchors else encoded.payload
        self._block = memory.arena.reserve(size)
        self._block[:size] = memoryview(encoded.payload)
        blocks = [(block.offset, block.extent_bytes) for block in encoded.anchors]
        self.address = CodeAddress(next(self._keys), self._block.offset, size, blocks)


class CallJob:
    """One call and its future."""

    def __init__(self, code: Code, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self._code = code
        self._task: CallTask | None = CallTask(code.address, number, args, kwargs)

    @property
    def exhausted(self) -> bool:
        return self._task is None

    def next_task(self) -> Task | None:
        task, self._task = self._task, None
        return task if task is not None and self.future.set_running_or_notify_cancel() else None

    def finish(self, task: Task, outcome: Outcome) -> None:
        if outcome.fault is not None:
            self.future.set_exception(outcome.fault.exception())
        else:
            self.future.set_result(outcome.values)

    def fail(self, task: Task | None, error: BaseException) -> None:
        if task is not None or self.next_task() is not None:
            self.future.set_exception(error)


class MapJob:
    """A map over items that are there: chunks go out, values come back in order."""

    def __init__(self, code: Code, items: list[tuple[Any, ...]], chunks: Chunks) -> None:
        self._code = code
        self._items = items
        self._chunks = chunks
        self._changed = threading.Condition()
        self._done: dict[int, tuple[list[Any], BaseException | None]] = {}  # by the number of the first item
        self._ended: BaseException | None = None
        self._cancelled = False

    @property
    def exhausted(self) -> bool:
        return self._cancelled or self._chunks.position >= self._chunks.total

    def next_task(self) -> Task | None:
        chunk = None if self._cancelled else self._chunks.next()
        return None if chunk is None else MapTask(self._code.address, chunk[0], self._items[chunk[0] : chunk[1]])

    def finish(self, task: Task, outcome: Outcome) -> None:
        values = outcome.values or []
        called = len(values) + (outcome.fault is not None)
        self._chunks.record(max(1, called), outcome.seconds)
        self._put(task.number, values, None if outcome.fault is None else outcome.fault.exception())

    def fail(self, task: Task | None, error: BaseException) -> None:
        if task is not None:
            self._put(task.number, [], error)
            return
        with self._changed:
            self._cancelled, self._ended = True, error
            self._changed.notify_all()

    def _put(self, number: int, values: list[Any], error: BaseException | None) -> None:
        with self._changed:
            self._done[number] = (values, error)
            self._changed.notify_all()

    def results(self, deadline: float | None) -> Iterator[Any]:
        """Yield the values in order; raise the first error when it is its turn, TimeoutError after the deadline."""
        number = 0
        try:
            while number < len(self._items):
                values, error = self._take(number, deadline)
                number += len(values)
                values.reverse()
                while values:
                    yield values.pop()
                if error is not None:
                    raise error
        finally:
            self._cancelled = True

    def _take(self, number: int, deadline: float | None) -> tuple[list[Any], BaseException | None]:
        with self._changed:
            while number not in self._done:
                if self._ended is not None:
                    return [], self._ended
                if not self._changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
            return self._done.pop(number)
