"""The results of a pool with the interface of `multiprocessing.Pool`: those that will be there, and one by one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

from pardata.pool.jobs.values import ResultTimeoutError
from pardata.pool.results import Results


class PoolTimeoutError(multiprocessing.TimeoutError, TimeoutError):
    """A result did not come in time: as `multiprocessing` calls it, and as Python does."""


class AsyncResult:
    """A result that will be there: `multiprocessing.pool.AsyncResult` over a future."""

    def __init__(
        self,
        future: Future[Any],
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._future = future
        self._callback = callback
        self._error_callback = error_callback
        if callback is not None or error_callback is not None:
            future.add_done_callback(self._call_back)

    def _call_back(self, future: Future[Any]) -> None:
        error = future.exception()
        if error is None and self._callback is not None:
            self._callback(future.result())
        elif error is not None and self._error_callback is not None:
            self._error_callback(error)

    def get(self, timeout: float | None = None) -> Any:
        """Return the result; raises the error of the call, `multiprocessing.TimeoutError` after `timeout` seconds."""
        self.wait(timeout)
        if not self.ready():
            raise PoolTimeoutError(f"no result after {timeout} s")
        return self._future.result()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or for `timeout` seconds."""
        try:
            self._future.exception(timeout)
        except TimeoutError:
            pass

    def ready(self) -> bool:
        """Return whether the result is there."""
        return self._future.done()

    def successful(self) -> bool:
        """Return whether the call came to its end without an exception; raises ValueError before that."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._future.exception() is None


class IMapIterator:
    """An iterator over results, as they are ready: an error is raised in its place, the next results follow.

    `kept` holds results whose iterator may be dropped before it was used: their work is done at `Pool.join`.
    """

    def __init__(self, results: Results, kept: set[Results]) -> None:
        self._results = results
        self._kept = kept
        kept.add(results)

    def __iter__(self) -> Iterator[Any]:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result; raises `multiprocessing.TimeoutError` after `timeout` seconds."""
        self._kept.discard(self._results)  # from now on it ends with its iterator
        try:
            return self._results.next(timeout)
        except ResultTimeoutError as error:
            raise PoolTimeoutError(f"no result after {timeout} s") from error

    __next__ = next
