"""A pool of workers: submit, map, map_array."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, Literal, NoReturn

from pardata.errors import ConfigError
from pardata.pool.arrays.map import ArrayMethods
from pardata.pool.backend import Backend, close_all
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks, Chunksize, parse_chunksize
from pardata.pool.jobs.map import MapJob
from pardata.pool.options import (
    MAY_AWAIT,
    check_awaits_nothing,
    check_least,
    check_setup,
    check_writable,
    count_workers,
)
from pardata.pool.processes.dispatcher import Dispatcher
from pardata.pool.results import Results, TaskFuture
from pardata.pool.threads import ThreadBackend
from pardata.runtime.progress import Bars


class WorkerPool(ArrayMethods, Executor):
    """Workers for tasks: a `concurrent.futures.Executor` that knows arrays.

    A worker process that is killed is replaced and its work done again; an item that takes down three workers gets a
    `WorkerLostError`, and the pool goes on. Functions may be lambdas and closures; arrays that they have captured
    travel once, not once per task. Large arrays among the arguments are read-only, unless `writable`; small ones, those
    that other objects hold, and those of a function's own state are the task's own. Results are the caller's. Lines
    that workers print and log appear in this process, tagged.

    Parameters
    ----------
    workers : int, optional
        Default: the cores that this process may use; within a worker of another pool that one's share of them.
        `max_workers` is another name of it, that of `concurrent.futures`.
    initializer, initargs
        Called in every worker before its first task. If it raises, the pool is broken: `WorkerLostError`, with its
        error as the ``__cause__``.
    finalizer, finalargs
        Called in every worker that ends in peace, after its last task: not in one that was killed. Its error is shown,
        and has no other consequence.
    max_tasks_per_worker : int, optional
        After so many tasks a worker process makes room for a fresh one. (A chunk of a map is one task.)
    memory_limit : int, bytes, or a size such as "2GB", optional
        Shared memory that workers may fill with results, the pool's tables and channels included. Default:
        half of what is available.
    timeout_s : float, optional
        A call (of `map_array`: for one block) that takes longer is ended with its worker: `DeadlineExceeded`.
    retries : int
        How often a call that raised or took too long is tried again.
    kind : "process" or "thread"
        Threads share everything and cannot be ended.
    shared : object
        Travels to each worker once: ``pardata.worker().shared``. Its large arrays are shared, and read-only there.
    seed : int, optional
        Of ``pardata.worker().random``. Default: another one for every pool.
    native : bool
        Arrays of another byte order that functions get - in arguments and items at any depth, as blocks of
        `map_array`, in `shared` - are converted to the machine's; those that a function has captured are not.
    writable : bool
        Functions get arrays of their own among their arguments (not those of `map_array`): copies that the worker makes
        of large ones. Threads get the caller's arrays themselves, and refuse it.
    name : str
        For messages, and as the tag of lines that workers print.

    Raises
    ------
    ConfigError
        Wrong arguments, also as a ValueError; or `initializer`, `finalizer`, their arguments or `shared` cannot be
        pickled.

    Examples
    --------
    >>> with pardata.WorkerPool(2) as pool:
    ...     print(list(pool.map(abs, [-1, 2])), pool.submit(pow, 2, 10).result())
    [1, 2] 1024
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        finalizer: Callable[..., object] | None = None,
        finalargs: tuple[Any, ...] = (),
        max_tasks_per_worker: int | None = None,
        memory_limit: float | str | None = None,
        timeout_s: float | None = None,
        retries: int = 0,
        kind: Literal["process", "thread"] = "process",
        shared: Any = None,
        seed: int | None = None,
        native: bool = False,
        writable: bool = False,
        name: str = "pool",
    ) -> None:
        self.workers = self._max_workers = count_workers(workers, max_workers)
        setup = Setup(
            self.workers, name, initializer, initargs, max_tasks_per_worker, memory_limit, timeout_s, retries,
            shared, seed, finalizer, finalargs, native=native, writable=writable,
        )  # fmt: skip
        self.kind = kind
        check_writable(writable, kind)
        self._backend: Backend = _make_backend(kind, check_setup(setup))
        self._backend.start()

    @property
    def is_open(self) -> bool:
        """Return whether the pool takes work."""
        return self._backend.is_open

    @property
    def is_busy(self) -> bool:
        """Return whether the pool has work."""
        return self._backend.is_busy

    @property
    def size(self) -> int:
        """The number of workers, as some libraries ask for it."""
        return self.workers

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of ``fn(*args, **kwargs)``. To cancel it ends it, also while it runs.

        Raises
        ------
        ConfigError
            `fn` cannot be pickled. (Arguments that cannot be fail the future: `SerializationError`.)
        RuntimeError
            The pool was shut down.
        """
        future = TaskFuture(self._backend)
        number = self._backend.next_number()
        setup = self._backend.setup
        job = CallJob(future, self._code(fn), number, args, kwargs, setup.retries, setup.writable)
        future.begin(job)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: Chunksize = "auto",
        buffersize: int | None = None,
        writable: bool | None = None,
        progress: Any = False,
    ) -> Iterator[Any]:
        """Return an iterator over ``fn(*items)``, in order; work begins at once.

        Parameters
        ----------
        iterables : iterables
            Read to the end of the shortest before anything else happens; with `buffersize`, as results are taken.
        timeout : float, optional
            Seconds from now on until the last result, else TimeoutError.
        chunksize : int or str
            Items per task. "auto" aims at tasks of 20 ms; when a task turns out long, its worker gives back the items
            that were not begun. "20ms" (or another time) asks for another aim, "4MB" for so much per task, "static" for
            one task per worker, "guided" for shorter and shorter ones. Short tasks of a fixed number travel together.
        buffersize : int, optional
            How many items may be taken from `iterables` whose results were not taken: for long or endless ones.
        writable : bool, optional
            As that of the pool, for this call; default: the pool's.
        progress : bool, or a class or function like tqdm
            Show a bar while results are waited for.

        Raises
        ------
        ConfigError
            A wrong `chunksize` or `buffersize`, or `fn` cannot be pickled. An error of `fn` is raised where its result
            would come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if buffersize is not None:
            check_least("buffersize", buffersize, int, 1)
        star = len(iterables) != 1
        items: Any = zip(*iterables, strict=False) if star else iterables[0]
        return self.results(fn, items, star=star, deadline=deadline, chunksize=chunksize, window=buffersize,
                            lazy=buffersize is not None, writable=writable, progress=progress)  # fmt: skip

    def results(
        self,
        fn: Callable[..., Any],
        items: Iterable[Any],
        *,
        star: bool = False,
        ordered: bool = True,
        deadline: float | None = None,
        chunksize: Chunksize = "auto",
        window: int | None = None,
        lazy: bool = False,
        ends: bool = True,
        writable: bool | None = None,
        progress: Any = False,
    ) -> Results:
        """Return an iterator over results: all kinds of `map` are made of it, and differ in its options.

        Besides ``next(it)`` it has ``it.next(timeout)``, in seconds, which raises TimeoutError and can be called again,
        and ``it.close()``: items that were not begun are not done.

        Parameters
        ----------
        fn, items
            ``fn(item)`` is called for each of `items`.
        star : bool
            Items are tuples of arguments.
        ordered : bool
            Results come in the order of their items; else as they are there.
        deadline : float, optional
            Of `time.monotonic`.
        window, lazy
            `lazy`: items are taken as results are taken, so that an endless iterable needs little memory; at most
            `window` at a time.
        ends : bool
            The first error ends the iterator; else the call after it gives the next result.
        chunksize, writable, progress
            As of `map`.
        """
        policy = parse_chunksize(chunksize)
        backend = self._backend
        source = iter(items) if lazy else None
        given = [] if lazy else items if isinstance(items, range) else list(items)
        chunks = Chunks(policy, self.workers, None if lazy else len(given))
        backend.recent.append(chunks)
        job = MapJob(
            self._code(fn), backend.next_number(), given, chunks, star=star, ordered=ordered, source=source,
            window=window, retries=backend.setup.retries, timed=backend.setup.timeout_s is not None,
            writable=backend.setup.writable if writable is None else check_writable(writable, self.kind),
        )  # fmt: skip
        bars = Bars(["map"], [None if lazy else len(given)], "item", progress) if progress else None
        return Results(backend, job, deadline, ends, bars)

    def statistics(self) -> dict[str, Any]:
        """Return the statistics so far.

        Returns
        -------
        dict
            "seconds" since the start, "workers" (per worker: tasks, start_s - until it was ready for them,
            of all its processes -, work_s, wait_s, deaths, processes), "longest" (the longest calls: seconds, item),
            "sent_bytes" and "received_bytes" (arguments and results; not what `map_array` reads and writes in place),
            "chunks" (per map of late: policy, number and sizes of its chunks, how many were given back). Threads have
            the same, but for processes and bytes.
        """
        return {**self._backend.statistics(), "chunks": [chunks.statistics() for chunks in self._backend.recent]}

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with `wait`, return when everything is done and every process is gone.

        Ctrl-C meanwhile ends the running calls, as `terminate`.
        """
        if cancel_futures:
            self._backend.cancel_waiting()
        self._close(wait)

    def finish_maps(self) -> None:
        """Have all items taken that maps with `buffersize` still wait to take. Never returns if they are endless."""
        for results in list(self._backend.lazy):
            results.finish()

    def terminate(self) -> None:
        """End at once: tasks that are not done get a `WorkerLostError`."""
        self._close(wait=True, kill=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down; on Ctrl-C and the like without waiting for tasks."""
        self._close(wait=True, kill=kind is not None and not issubclass(kind, Exception))

    def _close(self, wait: bool, kill: bool = False) -> None:
        try:
            self._backend.close(wait, kill)
        except BaseException:  # as Ctrl-C: nobody waits for the rest of the tasks
            self._backend.end_now()
            raise

    def _code(self, fn: Callable[..., Any]) -> Any:
        """Return the encoded function."""
        if not callable(fn):
            raise ConfigError(f"a pool runs functions, not {type(fn).__name__}")
        if (fn.__code__.co_flags & CO_COROUTINE) if fn.__class__ is FunctionType else fn.__class__ in MAY_AWAIT:
            check_awaits_nothing(fn)
        return self._backend.encode(fn)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a pool belongs to the process that made it and cannot be sent to a worker; within a task use pardata.map, "
            "or make a pool there: it gets the worker's share of the cores"
        )

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        backend = getattr(self, "_backend", None)
        if backend is not None and not _is_over():
            backend.abandon()

    def __repr__(self) -> str:
        return f"<WorkerPool of {self.workers} {'processes' if self.kind == 'process' else 'threads'}>"


def _make_backend(kind: str, setup: Setup) -> Backend:
    if kind == "process":
        return Dispatcher(setup)
    if kind != "thread":
        raise ConfigError(f'kind must be "process" or "thread", not {kind!r}')
    for option in ("max_tasks_per_worker", "memory_limit", "timeout_s"):
        if getattr(setup, option) is not None:
            raise ConfigError(f'{option} is for processes: with kind="thread" nothing can be ended')
    return ThreadBackend(setup)


# Registered behind the imports: handlers are called last first, and the fork server's must be called after this one.
atexit.register(close_all)
