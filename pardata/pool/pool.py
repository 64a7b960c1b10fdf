"""A pool of workers: submit, map, map_array."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from inspect import CO_COROUTINE
from types import FunctionType
from typing import Any, Literal, NoReturn

from pardata.errors import ConfigError
from pardata.pool.arrays.map import ArrayMethods
from pardata.pool.backend import Backend
from pardata.pool.configuration import Setup, Switches
from pardata.pool.jobs.call import CallJob
from pardata.pool.new_backend import cluster_backend, kind_of_workers, new_backend
from pardata.pool.open_backends import close_all
from pardata.pool.options import MAY_AWAIT, check_awaits_nothing, check_setup, check_writable, count_workers
from pardata.pool.report import PoolReport
from pardata.pool.results import TaskFuture
from pardata.process.capacity import loading
from pardata.runtime.method_names import named_as_called
from pardata.runtime.option_names import tells_options
from pardata.runtime.recording.pool_page import pool_body_of
from pardata.runtime.report_page import as_link


@named_as_called
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
        of large ones. Without it threads get the caller's arrays themselves.
    record : bool
        Keep when each worker did which task, for ``pool.report().save("pool.html")`` and `PoolReport.trace`.
    dashboard : bool
        Record, and serve that page to a browser on this machine until the pool has ended: its address is printed to
        standard error, and is ``pool.dashboard``.
    name : str
        For messages, and as the tag of lines that workers print.
    cluster : "dask", "ray", or a `pardata.cluster.Dask` or `pardata.cluster.Ray`, optional
        Work on the nodes of a cluster, with `workers` on each; default: the cores of each. See docs/cluster.md.

    Raises
    ------
    ConfigError
        Wrong arguments, also as a ValueError; or `initializer`, `finalizer`, their arguments or `shared` cannot be
        pickled.
    MissingExtraError
        ``dashboard=True`` without ``pardata[http]``.

    Examples
    --------
    >>> with pardata.WorkerPool(2) as pool:
    ...     print(list(pool.map(abs, [-1, 2])), pool.submit(pow, 2, 10).result())
    [1, 2] 1024
    """

    @tells_options()
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
        record: bool = False,
        dashboard: bool = False,
        name: str = "pool",
        cluster: Any = None,
    ) -> None:
        count = count_workers(workers, max_workers)
        setup = Setup(
            count, name, initializer, initargs, max_tasks_per_worker, memory_limit, timeout_s, retries,
            shared, seed, finalizer, finalargs, switches=Switches(native, writable, record or dashboard),
        )  # fmt: skip
        self.kind = kind
        check_writable(writable)
        for option, switch in (("record", record), ("dashboard", dashboard)):
            if not isinstance(switch, bool):
                raise ConfigError(f"{option} must be True or False, not {switch!r}")
        self._backend: Backend
        if cluster is not None:
            each = None if workers is None and max_workers is None else count
            self._backend = cluster_backend(cluster, kind, check_setup(setup), each)
            self._backend.start()
        elif dashboard:
            self._start_shown(check_setup(setup))
        else:
            self._backend = new_backend(kind, check_setup(setup))
            self._backend.start()

    def _start_shown(self, setup: Setup) -> None:
        """Start the workers, and before them the dashboard."""
        with loading("a dashboard"):
            from pardata.runtime.dashboard.server import Dashboard  # it takes a web server with it

        shown = Dashboard(pool_body_of)
        try:
            self._backend = new_backend(self.kind, replace(setup, dashboard=shown))
            self._backend.start()
            shown.follow(partial(_report_of, self._backend))
        except BaseException:  # as Ctrl-C, which may come behind the start
            if hasattr(self, "_backend"):
                self._backend.end_now()
            shown.close()
            raise

    @property
    def dashboard(self) -> str | None:
        """The address of the page that a pool with ``dashboard=True`` is shown on until it has ended; else None."""
        shown = self._backend.setup.dashboard
        return None if shown is None else shown.address

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

    @property
    def _max_workers(self) -> int:
        """The number of workers, as others look it up."""
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
        return _statistics_of(self._backend)

    def report(self) -> PoolReport:
        """Return the report until now; ``pool.report().save("pool.html")`` draws it.

        Returns
        -------
        PoolReport
        """
        return _report_of(self._backend)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a line per worker, and the way to the dashboard."""
        return as_link(self.dashboard if self.is_open else None) + self.report()._repr_html_()

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
            raise ConfigError(
                f"a pool runs functions, not {type(fn).__name__}: it comes first, then its arguments; not its result"
            )
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
        return f"<WorkerPool of {self.workers} {kind_of_workers(self._backend)}>"


def _statistics_of(backend: Backend) -> dict[str, Any]:
    return {**backend.statistics(), "chunks": [chunks.statistics() for chunks in list(backend.recent)]}


def _report_of(backend: Backend) -> PoolReport:
    return PoolReport(backend.setup.name, _statistics_of(backend), backend.surroundings(kind_of_workers(backend)))


# Registered behind the imports: handlers are called last first, and the fork server's must be called after this one.
atexit.register(close_all)
