"""`Pool`: the interface of `multiprocessing.Pool` over a `WorkerPool`.

Differences: a worker that is killed does not hang a map, `imap` needs little memory for endless iterables, `chunksize`
is "auto" unless it is given, functions may be lambdas, and the exceptions of workers carry their traceback. As there,
arrays among the arguments are the function's own.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from pardata.pool.backend import give_up
from pardata.pool.jobs.chunking import Chunksize
from pardata.pool.jobs.values import ResultTimeoutError
from pardata.pool.pool import WorkerPool
from pardata.pool.results import Results, TaskFuture
from pardata.process.interrupts import start_thread


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


class Pool:
    """`multiprocessing.Pool` over a `WorkerPool`, which is its attribute `executor`.

    Parameters
    ----------
    processes : int, optional
    initializer, initargs
    maxtasksperchild : int, optional
    context : ignored
        Workers are forked from a clean server, always.

    Examples
    --------
    >>> with pardata.Pool(2) as pool:
    ...     print(pool.starmap(pow, [(2, 3), (3, 2)]), sorted(pool.imap_unordered(abs, [-2, -1])))
    [8, 9] [1, 2]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: object = None,
    ) -> None:
        self.executor = WorkerPool(
            processes,
            initializer=initializer,
            initargs=tuple(initargs),
            max_tasks_per_worker=maxtasksperchild,
            writable=True,
        )
        self._max_workers = self.executor.workers
        self._kept: set[Results] = set()

    @property
    def size(self) -> int:
        """The number of workers."""
        return self.executor.workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of a call, as `concurrent.futures.Executor`."""
        return self.executor.submit(fn, *args, **kwargs)

    def apply(self, func: Callable[..., Any], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> Any:
        """Return the result of a call in a worker."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Have a call made in a worker."""
        self._check_running()
        return AsyncResult(self.executor.submit(func, *args, **(kwds or {})), callback, error_callback)

    def _results(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Chunksize | None, **options: Any
    ) -> Results:
        self._check_running()
        chunks = "auto" if chunksize is None else chunksize
        return self.executor.results(func, iterable, chunksize=chunks, **options)

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Chunksize | None = None) -> list[Any]:
        """Return the list of results."""
        return list(self._results(func, iterable, chunksize))

    __call__ = map

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: Chunksize | None = None
    ) -> list[Any]:
        """Return the list of results; items are the arguments of calls."""
        return list(self._results(func, _tuples(iterable), chunksize, star=True))

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Chunksize | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Return the result-to-be of `map`."""
        return self._collect(self._results(func, iterable, chunksize), callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Chunksize | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Return the result-to-be of `starmap`."""
        return self._collect(self._results(func, _tuples(iterable), chunksize, star=True), callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Chunksize | None = None
    ) -> IMapIterator:
        """Return an iterator over results in order; items are taken as results are, so the iterable may be endless."""
        return IMapIterator(self._results(func, iterable, chunksize, lazy=True, ends=False), self._kept)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: Chunksize | None = None
    ) -> IMapIterator:
        """Return an iterator over results as they come; else as `imap`."""
        results = self._results(func, iterable, chunksize, lazy=True, ends=False, ordered=False)
        return IMapIterator(results, self._kept)

    def _collect(
        self,
        results: Results,
        callback: Callable[[Any], object] | None,
        error_callback: Callable[[BaseException], object] | None,
    ) -> AsyncResult:
        """Return the list of results to be; a thread waits for them."""
        future = TaskFuture(self.executor._backend)
        future.set_running_or_notify_cancel()

        def collect() -> None:
            try:
                values = list(results)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(values)

        made = AsyncResult(future, callback, error_callback)
        try:
            start_thread(threading.Thread(target=collect, name="pardata-collector", daemon=True))
        except BaseException as error:  # Ctrl-C: the caller gets nothing that could end the work
            give_up(self.executor._backend, None, error)
            raise
        return made

    def _check_running(self) -> None:
        if not self.executor.is_open:
            raise ValueError("Pool not running")

    def close(self) -> None:
        """Take no more work."""
        self.executor.shutdown(wait=False)

    def terminate(self) -> None:
        """End at once."""
        self.executor.terminate()

    def join(self) -> None:
        """Wait for the workers' end. Raises ValueError before `close` or `terminate`.

        The items of `imap` are done, whether or not their results are taken.
        """
        if self.executor.is_open:
            raise ValueError("Pool is still running")
        self.executor.finish_maps()
        self._kept.clear()
        self.executor.shutdown()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"<Pool over {self.executor!r}>"


def _tuples(iterable: Iterable[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    return (tuple(arguments) for arguments in iterable)
