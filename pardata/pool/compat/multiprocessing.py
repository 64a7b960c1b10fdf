"""`Pool`: the interface of `multiprocessing.Pool` over a `WorkerPool`.

Differences: a worker that is killed does not hang a map, `imap` needs little memory for endless iterables, `chunksize`
is "auto" unless it is given, functions may be lambdas, and the exceptions of workers carry their traceback. As there,
arrays among the arguments are the function's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from pardata.pool.backend import give_up
from pardata.pool.compat.async_results import AsyncResult, IMapIterator
from pardata.pool.jobs.chunking import Chunksize
from pardata.pool.pool import WorkerPool
from pardata.pool.results import Results, TaskFuture
from pardata.process.capacity import explained
from pardata.process.interrupts import start_thread


class Pool:
    """`multiprocessing.Pool` over a `WorkerPool`, which is its attribute `executor`.

    Parameters
    ----------
    processes : int, optional
    initializer, initargs
    maxtasksperchild : int, optional
    context : ignored
        Workers are forked from a clean server, always.

    Raises
    ------
    ValueError
        Its methods: the pool was closed or terminated.
    Exception
        An error of a call is raised as its own type, with the traceback of the worker as a note: by the method, and of
        an asynchronous call by `get` of what it returned.

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
        """Return the result of ``func(*args, **kwds)`` in a worker.

        >>> import pardata
        >>> with pardata.Pool(1) as pool:
        ...     pool.apply(pow, (2, 5))
        32
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """Have a call made in a worker; return at once.

        Parameters
        ----------
        callback, error_callback : callable, optional
            Called with the result, or with the exception, by a thread of the pool: it should return soon.

        Returns
        -------
        AsyncResult
            With `get`, `wait`, `ready` and `successful`, as `multiprocessing.pool.AsyncResult` has them.

        Examples
        --------
        >>> import pardata
        >>> with pardata.Pool(1) as pool:
        ...     pool.apply_async(pow, (2, 5)).get(timeout=60)
        32
        """
        self._check_running()
        return AsyncResult(self.executor.submit(func, *args, **(kwds or {})), callback, error_callback)

    def _results(
        self, func: Callable[..., Any], iterable: Iterable[Any], chunksize: Chunksize | None, **options: Any
    ) -> Results:
        self._check_running()
        chunks = "auto" if chunksize is None else chunksize
        return self.executor.results(func, iterable, chunksize=chunks, **options)

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Chunksize | None = None,
        *,
        progress: Any = False,
    ) -> list[Any]:
        """Return the list of results. `progress`, here and in the methods below: as of `WorkerPool.map`.

        >>> import pardata
        >>> with pardata.Pool(2) as pool:
        ...     pool.map(abs, [-1, -2])
        [1, 2]
        """
        return list(self._results(func, iterable, chunksize, progress=progress))

    __call__ = map

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Chunksize | None = None,
        *,
        progress: Any = False,
    ) -> list[Any]:
        """Return the list of results of ``func(*item)``; else as `map`."""
        return list(self._results(func, _tuples(iterable), chunksize, star=True, progress=progress))

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Chunksize | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        progress: Any = False,
    ) -> AsyncResult:
        """Return the result-to-be of `map`, at once: as `apply_async` of the whole list."""
        return self._collect(self._results(func, iterable, chunksize, progress=progress), callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Chunksize | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        progress: Any = False,
    ) -> AsyncResult:
        """Return the result-to-be of `starmap`, at once: as `apply_async` of the whole list."""
        results = self._results(func, _tuples(iterable), chunksize, star=True, progress=progress)
        return self._collect(results, callback, error_callback)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Chunksize | None = None,
        *,
        progress: Any = False,
    ) -> IMapIterator:
        """Return an iterator over results in order; items are taken as results are, so the iterable may be endless.

        An error of a call is raised in the place of its result, and the next results follow. ``next(timeout)`` of the
        iterator raises `multiprocessing.TimeoutError` after so many seconds.

        >>> import itertools, pardata
        >>> with pardata.Pool(1) as pool:
        ...     results = pool.imap(abs, itertools.count(-2))
        ...     next(results), next(results)
        (2, 1)
        """
        results = self._results(func, iterable, chunksize, lazy=True, ends=False, progress=progress)
        return IMapIterator(results, self._kept)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Chunksize | None = None,
        *,
        progress: Any = False,
    ) -> IMapIterator:
        """Return an iterator over results as they come; else as `imap`."""
        results = self._results(func, iterable, chunksize, lazy=True, ends=False, ordered=False, progress=progress)
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
            with explained("a map that is not waited for"):
                start_thread(threading.Thread(target=collect, name="pardata-collector", daemon=True))
        except BaseException as error:  # Ctrl-C: the caller gets nothing that could end the work
            give_up(self.executor._backend, None, error)
            raise
        return made

    def _check_running(self) -> None:
        if not self.executor.is_open:
            raise ValueError("Pool not running")

    def close(self) -> None:
        """Take no more work; what was asked for is done. `join` waits for it."""
        self.executor.shutdown(wait=False)

    def terminate(self) -> None:
        """End at once: calls that are not done get a `WorkerLostError`."""
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
