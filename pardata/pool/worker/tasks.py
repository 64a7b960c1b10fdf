"""The calls that a worker makes for a task. No channel, no process: a thread can run these as well."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from pardata.pool.arrays.rows import OpenWork
from pardata.pool.jobs.job import Outcome
from pardata.pool.worker.call_times import CallTimes
from pardata.pool.worker.faults import fault_of, fault_of_rows
from pardata.pool.worker.messages import CALL, ITEMS, unpack
from pardata.pool.worker.words import TaskProgress
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.context import WorkerContext
from pardata.runtime.isolation import IMMUTABLE, settle
from pardata.runtime.native import as_native

Performer = Callable[[tuple[Any, ...], Any, TaskProgress, WorkerContext], Outcome]

_SHORT_NS: Final = 10_000  # calls shorter than this are looked after a few at a time
_MOST_AT_ONCE: Final = 32  # should they turn out long after all, so many are done before anything is given back


def performer(native: bool) -> Performer:
    """Return the function that does tasks."""
    return _perform_natively if native else perform


def _perform_natively(task: tuple[Any, ...], fn: Any, progress: TaskProgress, context: WorkerContext) -> Outcome:
    """As `perform`, with the arguments of calls in the machine's byte order. (Blocks of rows: `OpenWork`.)"""
    if task[0] == CALL:
        task = (*task[:3], *as_native(task[3:]))
    elif task[0] == ITEMS:
        task = (*task[:4], as_native(unpack(task[4])), *task[5:])
    return perform(task, fn, progress, context)


def perform(task: tuple[Any, ...], fn: Any, progress: TaskProgress, context: WorkerContext) -> Outcome:
    """Do a task with its function."""
    kind, _, job = task[:3]
    if kind == CALL:
        args, kwargs = task[3:]
        context._enter(job, 0)
        progress.begin(0, 1)
        return run_call(fn, args, kwargs)
    if kind == ITEMS:
        begin, packed, star, limit_ns, careful = task[3:]
        values: list[Any] = []
        context._enter(job, begin, values)
        return run_items(fn, unpack(packed), begin, star, limit_ns, careful, progress, values)
    begin, end, block, limit_ns = task[3:]
    return run_rows(fn, begin, end, block, limit_ns, progress, context._enter, job)


def run_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome:
    """Make one call."""
    here = forked_child.generation
    begin = time.perf_counter()
    try:
        value, fault = fn(*args, **kwargs), None
        leave_if_forked(here)
    except BaseException as error:  # as SystemExit: the future has an error that says so, and the worker goes on
        leave_if_forked(here, error)
        value, fault = None, fault_of(error, fn, item=args[0] if len(args) == 1 else args)
    seconds = time.perf_counter() - begin
    return Outcome(1, value, fault, seconds, (seconds, 0))


def run_items(
    fn: Callable[..., Any],
    items: Sequence[Any],
    begin: int,
    star: bool,
    limit_ns: int,
    careful: bool,
    progress: TaskProgress,
    values: list[Any],
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
    values : list
        Gets the results: its length says which item is being worked on.
    """
    total, at, stride = len(items), 0, 1
    fault = None
    here = forked_child.generation  # looked at without a call: a child is not to make the calls that are left
    plain: type = type(None)  # the type of the last result that cannot be changed
    times = CallTimes()
    while at < total:
        progress.begin(at, stride)
        end = at + stride
        try:
            for item in items[at:end]:
                made = fn(*item) if star else fn(item)
                values.append(made)
                if forked_child.generation != here:
                    leave_if_forked(here)
                if type(made) is not plain:  # a comparison where all results are numbers; else it is looked up
                    if type(made) in IMMUTABLE:
                        plain = type(made)
                        continue
                    del made  # `settle` asks who else has it
                    if len(values) < total:
                        settle(values)  # the next call may fill it again, and they are sent together
        except BaseException as error:
            leave_if_forked(here, error)
            fault = fault_of(error, fn, begin + len(values), item)
        spent_ns, at = times.end(at, is_one=stride == 1), len(values)
        if fault is not None or progress.must_stop(spent_ns, at, total - at, limit_ns):
            break
        if not careful:
            stride = min(2 * stride, _MOST_AT_ONCE) if spent_ns < _SHORT_NS * at else 1
    return times.outcome(len(values) + (fault is not None), values, fault)


def run_rows(
    opened: OpenWork,
    begin: int,
    end: int,
    block: int,
    limit_ns: int,
    progress: TaskProgress,
    enter: Callable[[int, int], None],
    job: int,
) -> Outcome:
    """Call the function for the entries ``[begin, end)``, `block` of them at a time.

    `enter` notes for which job and row a call begins.
    """
    value: Any = None
    fault = None
    here = forked_child.generation
    upto, end = begin, min(begin + block, end) if opened.work.kind == "first" else end
    times = CallTimes()
    while upto < end:
        at, upto = upto, min(upto + block, end)
        progress.begin(at - begin, upto - at)
        enter(job, at)
        try:
            value = opened.do(at, upto, value, at == begin)
        except BaseException as error:
            leave_if_forked(here, error)
            fault = fault_of_rows(error, opened.work.fn, opened.inputs, at, upto)
        spent_ns = times.end(at - begin)
        if fault is not None or progress.must_stop(spent_ns, upto - begin, end - upto, limit_ns):
            break
    return times.outcome(upto - begin, value, fault)
