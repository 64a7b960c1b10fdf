"""A pool of workers: submit, map, map_array."""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Literal, NoReturn

from pardata.errors import ConfigError
from pardata.pool.arrays.map import foreach_array, map_array, reduce_array
from pardata.pool.backend import Backend, Setup, open_crews
from pardata.pool.jobs.chunking import Chunks, Chunksize, parse_chunksize
from pardata.pool.jobs.job import CallJob
from pardata.pool.jobs.map import MapJob
from pardata.pool.options import check_least, check_timeout, count_workers
from pardata.pool.processes.dispatcher import Dispatcher
from pardata.pool.results import Results, TaskFuture
from pardata.pool.threads import ThreadBackend
from pardata.runtime.progress import Bars


class WorkerPool(Executor):
    """Workers for tasks: a `concurrent.futures.Executor` that knows arrays.

    A worker process that is killed is replaced and its work done again; an item that takes down three workers gets a
    `WorkerLostError`, and the pool goes on. Functions may be lambdas and closures; arrays that they have captured
    travel once, not once per task. Arrays that a task gets, and those among its results, are read-only. What workers
    print and log appears in this process, tagged.

    Parameters
    ----------
    workers : int, optional
        Default: the cores that this process may use; within a worker of another pool that one's share of them.
    max_workers : int, optional
        Another name of `workers`, that of `concurrent.futures`.
    initializer, initargs
        Called in every worker before its first task. If it raises, the pool is broken: `WorkerLostError`, with what it
        has raised as its ``__cause__``.
    finalizer, finalargs
        Called in every worker that ends in peace, after its last task: not in one that was killed. What it raises is
        shown, and nothing else comes of it.
    max_tasks_per_worker : int, optional
        After so many tasks a worker process makes room for a fresh one. (A chunk of a map is one task.)
    memory_limit : int, optional
        Bytes of shared memory that workers may fill with results, the pool's tables and channels included. Default:
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
    name : str
        For messages, and as the tag of what workers print.

    Raises
    ------
    ConfigError
        Wrong arguments, also as a ValueError; or `initializer`, `finalizer`, their arguments or `shared` cannot be
        pickled.
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
        memory_limit: int | None = None,
        timeout_s: float | None = None,
        retries: int = 0,
        kind: Literal["process", "thread"] = "process",
        shared: Any = None,
        seed: int | None = None,
        name: str = "pool",
    ) -> None:
        self.workers = self._max_workers = count_workers(workers, max_workers)
        check_least("max_tasks_per_worker", max_tasks_per_worker, int, 1)
        check_least("memory_limit", memory_limit, int, 1)
        check_timeout(timeout_s)
        check_least("retries", retries, int, 0)
        for what, fn in (("initializer", initializer), ("finalizer", finalizer)):
            if fn is not None and not callable(fn):
                raise ConfigError(f"{what} must be a function, not {type(fn).__name__}")
        if not isinstance(name, str):
            raise ConfigError(f"name must be a str, not {name!r}")
        check_least("seed", seed, int, 0)
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        setup = Setup(
            self.workers, name, initializer, tuple(initargs), max_tasks_per_worker, memory_limit, timeout_s, retries,
            shared, seed, finalizer, tuple(finalargs),
        )  # fmt: skip
        self.kind = kind
        self._backend: Backend
        if kind == "thread":
            for option in ("max_tasks_per_worker", "memory_limit", "timeout_s"):
                if locals()[option] is not None:
                    raise ConfigError(f'{option} is for processes: with kind="thread" nothing can be ended')
            self._backend = ThreadBackend(setup)
        elif kind == "process":
            self._backend = Dispatcher(setup)
        else:
            raise ConfigError(f'kind must be "process" or "thread", not {kind!r}')
        try:
            self._backend.start()
        except BaseException:  # as Ctrl-C: its thread takes back what there is
            self._backend.abandon()
            raise

    @property
    def is_open(self) -> bool:
        """Whether work can be given to it."""
        return self._backend.is_open

    @property
    def is_busy(self) -> bool:
        """Whether it has work."""
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
        job = CallJob(future, self._code(fn), number, args, kwargs, self._backend.setup.retries)
        future.begin(job)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: Chunksize = "auto",
        buffersize: int | None = None,
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
            Items per task. "auto" aims at tasks of 20 ms, and a worker gives back what it has not begun when a task
            turns out long. "20ms" (or another time) asks for another aim, "4MB" for so much per task, "static" for one
            task per worker, "guided" for shorter and shorter ones. Short tasks of a fixed number travel together.
        buffersize : int, optional
            How many items may be taken from `iterables` whose results were not taken: for long or endless ones.
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
                            lazy=buffersize is not None, progress=progress)  # fmt: skip

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
        progress: Any = False,
    ) -> Results:
        """Return an iterator over results: what all kinds of `map` are made of, with all that they differ in.

        Besides ``next(it)`` it has ``it.next(timeout)``, in seconds, which raises TimeoutError and can be called again,
        and ``it.close()``: what was not begun is not done.

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
        chunksize, progress
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
        )  # fmt: skip
        bars = Bars(["map"], [None if lazy else len(given)], "item", progress) if progress else None
        return Results(backend, job, deadline, ends, bars)

    def map_array(
        self,
        fn: Callable[..., Any],
        array: Any,
        *arrays: Any,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        out: Any = None,
        halo: int = 0,
        dtype: Any = None,
        progress: Any = False,
    ) -> Any:
        """Apply `fn` to consecutive blocks of `array` along `axis` and put the results together.

        The result equals ``fn(array)`` for any `fn` that treats entries along `axis` independently, or that looks no
        further than `halo`, whatever the chunking. If it raises, `out` may be partly written and no other memory stays
        reserved.

        Parameters
        ----------
        fn : callable
            Gets a read-only block of each array (of length 0, if they are), returns as many entries along `axis`. It
            may change the other axes, or drop some; `axis` then counts from the end.
        array, arrays : array_like, shape (n, ...) if `axis` is 0, any dtype without objects
            Of the same length along `axis`. Not copied if they live in shared memory (`pardata.empty`, a result of this
            method, an item of a run), nor a `numpy.memmap`, which the workers open by its path. Of a file in pages
            every worker reads its own rows, whole pages at a time.
        chunksize : int or str
            An int (or a size, "4MB") says what a call gets. Else calls get blocks that fit the cache, and workers get
            as many at a time as `chunksize` says: see `map`.
        out : array, shape as the result, or path of a .npy file, optional
            Where to write, cast as NumPy's ``out=`` ("same_kind"); without a copy if it lives in shared memory or in a
            `numpy.memmap` and does not overlap an input. A file appears when it is complete.
        halo : int
            How many entries more `fn` gets on each side, where there are any. Its result for them is cut off.
        dtype : dtype, optional
            Of the result. Default: that of the first block's result.
        progress : bool, or a class or function like tqdm
            Show a bar, in rows.

        Returns
        -------
        array in shared memory; or `out`; of a path a `numpy.memmap`

        Raises
        ------
        ConfigError
            There is no such axis, arrays differ in length, hold objects, `out` does not fit, or `fn` cannot be pickled.
            Nothing was written.
        ValueError
            `fn` returned another number of entries, or another shape or dtype than for the first block.

        Source: guided self-scheduling, Polychronopoulos & Kuck 1987
        """
        return map_array(self._backend, fn, (array, *arrays), axis, chunksize, out, halo, dtype, progress)

    def reduce_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        combine: Callable[[Any, Any], Any],
        *,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        progress: Any = False,
    ) -> Any:
        """Return what `combine` makes of the results of `fn` for blocks of `array` along `axis`.

        Workers combine the results of their own blocks; what they send is combined two by two, in the order of the
        rows. `combine` must be associative: how blocks fall is not the same every time.

        Parameters and errors as of `map_array`; an array without entries gives ``fn(array)``.
        """
        return reduce_array(self._backend, fn, array, combine, axis, chunksize, progress)

    def foreach_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        *,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        progress: Any = False,
    ) -> None:
        """Call `fn` with blocks of `array` along `axis` that it may change in place; what it returns does not count.

        An array in shared memory (or a `numpy.memmap`) is changed where it is; another one is copied there and back.
        A call that is killed half-way cannot be done again: `WorkerLostError` names its rows.

        Parameters as of `map_array`.

        Raises
        ------
        ConfigError
            `array` is not a writable array, holds objects, or has no such axis.
        """
        foreach_array(self._backend, fn, array, axis, chunksize, progress)

    def statistics(self) -> dict[str, Any]:
        """Return what happened so far.

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

        Ctrl-C meanwhile ends what runs, as `terminate`.
        """
        if cancel_futures:
            self._backend.cancel_waiting()
        self._close(wait)

    def finish_maps(self) -> None:
        """Have all items taken that maps with `buffersize` still wait to take. Never returns if they are endless."""
        for results in list(self._backend.lazy):
            results.finish()

    def terminate(self) -> None:
        """End at once: what is not done gets a `WorkerLostError`."""
        self._close(wait=True, kill=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down; on Ctrl-C and the like without waiting for tasks."""
        self._close(wait=True, kill=kind is not None and not issubclass(kind, Exception))

    def _close(self, wait: bool, kill: bool = False) -> None:
        try:
            self._backend.close(wait, kill)
        except BaseException:  # as Ctrl-C: nobody waits for what is not done
            self._backend.close(wait=False, kill=True)
            raise

    def _code(self, fn: Callable[..., Any]) -> Any:
        """Return the encoded function."""
        if not callable(fn):
            raise ConfigError(f"a pool runs functions, not {type(fn).__name__}")
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


@atexit.register
def _close_all() -> None:
    """At the end of the interpreter wait for what was submitted, unless an exception ends it."""
    failed = getattr(sys, "last_value", None) is not None
    for backend in list(open_crews):
        try:
            backend.close(wait=True, kill=failed)
        except KeyboardInterrupt:  # it is to end now, and has nobody whom a traceback would tell more
            failed = True
            backend.close(wait=True, kill=True)
