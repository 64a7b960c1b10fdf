"""What a pool's worker does with a task. No channel, no process: a thread can run these as well.

A task is a tuple - kind, address of its function, number of its job, what it is about - and gives an `Outcome`, which
is a tuple too: both are pickled once per message, and a class would be looked up in each.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from pardata.pool.worker.context import WorkerContext
from pardata.pool.worker.words import HAS_IDLE_WORKER, POSITION, STARTED_NS, STRIDE
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.faults import Fault, exit_as_error

CALL, ITEMS, ROWS = 0, 1, 2

_HERE: Final = os.path.dirname(__file__)

_SHORT_NS: Final = 10_000  # calls shorter than this are looked after a few at a time
_MOST_AT_ONCE: Final = 32  # should they turn out long after all, so many are done before anything is given back
_WORTH_NS: Final = 300_000  # a rest shorter than this is not given back: the message would cost as much
_PLAIN: Final = {int, float, complex, bool, str, bytes, type(None)}
_PACKED_FROM: Final = 16
# What an exception may hold of the user's: as much as a result may, within reason.
LONGEST_PICKLE: Final = 64 << 20


class CodeAddress(NamedTuple):
    """Where an encoded function (or anything else) lies in the segment."""

    key: int
    offset: int
    length: int
    blocks: list[tuple[int, int]]


class Outcome(NamedTuple):
    """What came of a task.

    `done` counts its calls, the one that raised included; what is behind them was not begun, and is the parent's
    again. `longest` is the longest call looked at: (seconds, index). `is_unread`: the fault is that of a message, with
    arguments or results, that could not be unpickled.
    """

    done: int
    values: Any
    fault: Fault | None
    seconds: float
    longest: tuple[float, int] = (0.0, 0)
    is_unread: bool = False


class TaskProgress:
    """Says in shared words how far a task is, and when it has to stop.

    Parameters
    ----------
    words, parent : memoryview
        Headers of this worker's span and of the parent's.
    """

    def __init__(self, words: memoryview, parent: memoryview) -> None:
        self.words = words
        self._parent = parent

    def begin(self, position: int, stride: int) -> None:
        """Note that the calls ``position .. position + stride - 1`` begin."""
        words = self.words
        words[POSITION], words[STRIDE] = position, stride
        words[STARTED_NS] = time.perf_counter_ns()

    def end(self) -> None:
        """Note that no task is being worked on."""
        words = self.words
        words[STARTED_NS] = words[STRIDE] = words[POSITION] = 0

    def must_stop(self, spent_ns: int, done: int, rest: int, limit_ns: int) -> bool:
        """Whether the rest of the task is to be given back: it takes long, or somebody has nothing to do."""
        if not limit_ns or rest <= 0:
            return False
        return spent_ns > limit_ns or (bool(self._parent[HAS_IDLE_WORKER]) and spent_ns * rest > _WORTH_NS * done)


def pack(items: Sequence[Any]) -> Any:
    """Return items as they are best put into a message: plain ones as bytes, which no pickler looks through again."""
    if len(items) >= _PACKED_FROM and type(items) is list and set(map(type, items)) <= _PLAIN:
        return pickle.dumps(items, 5)
    return items


def unpack(packed: Any) -> Any:
    """Return the items."""
    return pickle.loads(packed) if type(packed) is bytes else packed


def squeeze(message: tuple[Any, ...], *contents: Any) -> Any:
    """Return a message as it is best sent: as bytes, if `contents`, all that the user has put into it, are plain."""
    return pickle.dumps(message, 5) if set(map(type, contents)) <= _PLAIN else message


def run_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], number: int) -> Outcome:
    """Make one call."""
    here = forked_child.generation
    begin = time.perf_counter()
    try:
        value, fault = fn(*args, **kwargs), None
        leave_if_forked(here)
    except BaseException as error:  # as SystemExit: the future has an error that says so, and the worker goes on
        leave_if_forked(here, error)
        value, fault = None, fault_of(error, fn, number, args[0] if len(args) == 1 else args)
    seconds = time.perf_counter() - begin
    return Outcome(1, value, fault, seconds, (seconds, 0))


def run_items(
    fn: Callable[..., Any],
    items: Sequence[Any],
    begin: int,
    star: bool,
    limit_ns: int,
    careful: bool,
    pace: TaskProgress,
    context: WorkerContext,
    job: int,
) -> Outcome:
    """Call the function for consecutive items, up to the first error or until something is to be given back.

    Parameters
    ----------
    begin : int
        Number of the first item.
    star : bool
        An item is a tuple of arguments.
    careful : bool
        Say before each call which it is: the calls have a time limit, or one of them has killed a worker.
    """
    values: list[Any] = []
    context.enter(job, begin, values)
    total, at, stride = len(items), 0, 1
    longest_ns, longest = 0, 0
    fault = None
    here = forked_child.generation  # looked at without a call: a child is not to make the calls that are left
    start = last = time.perf_counter_ns()
    while at < total:
        pace.begin(at, stride)
        end = at + stride
        try:
            if star:
                for item in items[at:end]:
                    values.append(fn(*item))
                    if forked_child.generation != here:
                        leave_if_forked(here)
            else:
                for item in items[at:end]:
                    values.append(fn(item))
                    if forked_child.generation != here:
                        leave_if_forked(here)
        except BaseException as error:
            leave_if_forked(here, error)
            fault = fault_of(error, fn, begin + len(values), item)
        now = time.perf_counter_ns()
        if stride == 1 and now - last > longest_ns:
            longest_ns, longest = now - last, at
        last, at = now, len(values)
        if fault is not None or pace.must_stop(now - start, at, total - at, limit_ns):
            break
        if not careful:
            stride = min(2 * stride, _MOST_AT_ONCE) if now - start < _SHORT_NS * at else 1
    done = len(values) + (fault is not None)
    return Outcome(done, values, fault, (last - start) / 1e9, (longest_ns / 1e9, longest))


def name_of(fn: Callable[..., Any]) -> str:
    """Return the name of a function for messages."""
    return str(getattr(fn, "__name__", type(fn).__name__))


def fault_of(error: BaseException, fn: Callable[..., Any], number: int, item: object) -> Fault:
    """Describe what the user's function raised, without the pool's own files in its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HERE):
        trace = trace.tb_next
    error = exit_as_error(error.with_traceback(trace))
    return Fault.of(error, name_of(fn), number, item, LONGEST_PICKLE)
