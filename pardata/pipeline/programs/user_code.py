"""Calls the user's code, and makes stage failures of its exceptions."""

from __future__ import annotations

import contextlib
import copy
import inspect
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator
from functools import partial
from types import CoroutineType
from typing import Any, Final

from pardata.errors import PardataError
from pardata.pipeline.arguments import Wrapped
from pardata.pipeline.plan.node import has_calls
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.context import worker
from pardata.runtime.faults import NO_ITEM, Fault, exit_as_error
from pardata.runtime.read_only import explain_read_only
from pardata.runtime.worker.program import StageFailure

# What the user's code may raise for an item. Of the exceptions that are no `Exception` these are the ones that a caller
# would take for something else: an exit, or a cancellation of its own task.
ERRORS: Final = (Exception, SystemExit, CancelledError)


_OF_GENERATORS: Final = ("object of type 'generator' has no len()", "'generator' object is not subscriptable")


def without_frame(error: BaseException) -> BaseException:
    """Drop pardata's own frames from the top of a traceback: the user's begin below."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("pardata."):
        trace = trace.tb_next
    if trace is None and not isinstance(error, PardataError):  # those have no user's frame
        trace = error.__traceback__
    return error.with_traceback(trace)


def failure_of(error: BaseException, stage: str, number: int = -1, item: object = NO_ITEM) -> StageFailure:
    """Return the failure that ends the run because of an exception in the user's code.

    `SystemExit` and `CancelledError` are turned into errors: as they are, they would end the process or the caller's
    task without a word.
    """
    error = exit_as_error(without_frame(error))
    if isinstance(error, TypeError) and str(error) in _OF_GENERATORS:
        error.add_note(
            "a generator - what a generator function returns, and what a generator stage gets as its items - can only "
            "be looped over: for its length, or entries by number, make a list of it, list(...)"
        )
    explain_read_only(error, item, "say writable=True to map, filter or flat_map, whose function then gets copies")
    return StageFailure(Fault.of(error, stage, number, item), error)


def not_awaited(made: CoroutineType[Any, Any, Any]) -> TypeError:
    """Return the error for a coroutine that a function has returned, which is closed."""
    made.close()
    return TypeError(
        f"the function returned a coroutine, of {made.__name__!r}, and nobody awaits it: give the coroutine "
        f"function itself, or have an `async def` around it that awaits"
    )


@contextlib.contextmanager
def closing(iterator: Any) -> Iterator[None]:
    """Close a generator at the end of a block; other iterators have nothing to close."""
    try:
        yield
    finally:
        if inspect.isgenerator(iterator):
            close_generator(iterator)


def close_generator(generator: Generator[Any, Any, Any]) -> None:
    """Close a generator; a `SystemExit` of its clean-up is turned into an error."""
    here = forked_child.generation
    try:
        generator.close()
    except SystemExit as error:
        leave_if_forked(here, error)
        raise exit_as_error(error) from None


@contextlib.contextmanager
def opened(
    fn: Any,
    retries: int,
    stage: str,
    given: Callable[[Any], Any] | None = None,
    complete: Callable[[Any], Any] | None = None,
) -> Iterator[Callable[[Any], Any]]:
    """Give a worker its own object of a stage with state: made, opened, and closed whatever happens.

    A class whose objects can be called is such a stage, and so is an object with `open` or `close`. A function is
    given as it is.

    Parameters
    ----------
    given : callable, optional
        Returns the item that one attempt gets.
    complete : callable, optional
        Called with what `open` and `close` return.
    """
    if isinstance(fn, Wrapped):
        with opened(fn.func, 0, stage, complete=complete) as inner:
            made = fn.around(inner)
            yield _called(made, retries, given)
        return
    if has_calls(fn):
        made = _call(fn, stage)
    elif hasattr(fn, "open") or hasattr(fn, "close"):
        made = copy.copy(fn)  # the threads of a stage would share it
    else:
        made = fn
    if made is not fn:
        _call(getattr(made, "open", _nothing), stage, complete)
    try:
        yield _called(made, retries, given)
    finally:
        if made is not fn:
            _call(getattr(made, "close", _nothing), stage, complete)


def _nothing() -> None:
    pass


def _call(fn: Callable[[], Any], stage: str, complete: Callable[[Any], Any] | None = None) -> Any:
    here = forked_child.generation
    try:
        return fn() if complete is None else complete(fn())
    except ERRORS as error:
        leave_if_forked(here, error)
        raise failure_of(error, stage) from None


def _called(fn: Callable[[Any], Any], retries: int, given: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    attempt = fn if given is None else partial(_call_with, given, fn)
    return partial(_try_again, attempt, retries) if retries else attempt


def _call_with(given: Callable[[Any], Any], fn: Callable[[Any], Any], item: Any) -> Any:
    return fn(given(item))


def _try_again(fn: Callable[[Any], Any], retries: int, item: Any) -> Any:
    here = forked_child.generation
    for _ in range(retries):
        try:
            return fn(item)
        except Exception:
            if forked_child.generation != here:  # a child that the function has forked: it is not to be called there
                raise
            worker()._try_again()
    return fn(item)
