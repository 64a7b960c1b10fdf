"""A pool of worker processes: submit, map, map_array."""

from __future__ import annotations

import atexit
import itertools
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final

from pardata.errors import ConfigError
from pardata.pool.array_map import map_array
from pardata.pool.chunking import Chunks, Chunksize, check_chunksize
from pardata.pool.dispatcher import Dispatcher
from pardata.pool.jobs import CallJob, Code, MapJob, is_importable, name_of
from pardata.runtime.limits import usable_cores

_FUNCTIONS_KEPT: Final = 64


class WorkerPool(Executor):
    """Worker processes for tasks: a `concurrent.futures.Executor` that knows arrays.

    A worker that is killed is replaced and its task done again; a task that takes down three workers gets a
    `WorkerLostError`, and the pool goes on. Functions may be lambdas and closures; arrays that they have captured
    travel once, not once per task. What they get and what they return is read-only where it is large.

    Parameters
    ----------
    workers : int, optional
        Default: the cores that this process may use.

    Raises
    ------
    ConfigError
        `workers` is not an int of at least 1.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and (not isinstance(workers, int) or workers < 1):
            raise ConfigError(f"workers must be an int of at least 1, not {workers!r}")
        self.workers = workers or usable_cores()
        self._dispatcher = Dispatcher(self.workers)
        self._codes: dict[Any, Code] = {}
        self._numbers = itertools.count()
        _open_pools.add(self._dispatcher)  # which lives as long as its thread, whatever becomes of the handle

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the future of ``fn(*args, **kwargs)``.

        Raises
        ------
        ConfigError
            `fn` cannot be pickled. (Arguments that cannot be fail the future.)
        RuntimeError
            The pool was shut down.
        """
        job = CallJob(self._code(fn), next(self._numbers), args, kwargs)
        self._dispatcher.add(job)
        return job.future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: Chunksize = "auto",
    ) -> Iterator[Any]:
        """Return an iterator over ``fn(*items)``, in order; work begins at once.

        Parameters
        ----------
        iterables : iterables
            Read to the end of the shortest before anything else happens.
        timeout : float, optional
            Seconds from now on until the last result, else TimeoutError.
        chunksize : int or "auto"
            Items per task; "auto" aims at tasks of 20 ms.

        Raises
        ------
        ConfigError
            A wrong `chunksize`, or `fn` cannot be pickled. An error of `fn` is raised where its result would come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        items = list(zip(*iterables, strict=False))
        job = MapJob(self._code(fn), items, Chunks(len(items), self.workers, check_chunksize(chunksize)))
        if items:
            self._dispatcher.add(job)
        return job.results(deadline)

    def map_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        *,
        chunksize: Chunksize = "auto",
        out: Any = None,
        progress: bool = False,
    ) -> Any:
        """Apply `fn` to consecutive rows of `array` and put the results together.

        The result equals ``fn(array)`` for any `fn` that treats rows (entries along axis 0) independently, whatever
        the chunking. If it raises, `out` may be partly written and no other memory stays reserved.

        Parameters
        ----------
        fn : callable
            Gets a read-only array of some rows (none, if `array` has none), returns as many: of any shape and dtype,
            but the same for all.
        array : array_like, shape (n, ...), any dtype without objects
            Not copied if it lives in shared memory (`pardata.empty`, a result of this method, an item of a run). Of a
            file in pages every worker reads its own rows, whole pages at a time.
        chunksize : int (rows per call) or "auto"
            "auto" hands workers chunks of about 20 ms, and calls `fn` with blocks that fit the cache.
        out : array, shape (n, ...), optional
            Where to write, cast as NumPy's ``out=`` ("same_kind"); without a copy if it lives in shared memory and does
            not overlap `array`.
        progress : bool
            Show a bar.

        Returns
        -------
        array, shape (n, ...), dtype of the first chunk's result, in shared memory; or `out`

        Raises
        ------
        ConfigError
            `array` has no axis 0 or holds objects, `out` does not fit, or `fn` cannot be pickled.
        ValueError
            `fn` returned another number of rows, or another shape or dtype than for the first chunk.

        Source: guided self-scheduling, Polychronopoulos & Kuck 1987
        """
        return map_array(self._dispatcher, fn, array, check_chunksize(chunksize), out, progress)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work; with `wait`, return when everything is done and every process is gone."""
        if cancel_futures:
            for job in self._dispatcher.waiting_jobs():
                if isinstance(job, CallJob):
                    job.future.cancel()
        self._dispatcher.close(wait)
        self._codes.clear()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down; on Ctrl-C and the like without waiting for tasks."""
        self._dispatcher.close(wait=True, kill=kind is not None and not issubclass(kind, Exception))

    def _code(self, fn: Callable[..., Any]) -> Code:
        """Return the encoded function; one that travels by value is encoded again, as it may have changed."""
        if not callable(fn):
            raise ConfigError(f"a pool runs functions, not {type(fn).__name__}")
        is_fixed = is_importable(fn)
        code = self._codes.get(fn) if is_fixed else None
        if code is None:
            code = Code(fn, name_of(fn))
            key = fn if is_fixed else code.payload
            code = self._codes.setdefault(key, code) if code.payload is not None else code
            if len(self._codes) > _FUNCTIONS_KEPT:
                del self._codes[next(iter(self._codes))]
        return code

    def __del__(self) -> None:
        dispatcher = getattr(self, "_dispatcher", None)
        if dispatcher is not None:
            dispatcher.close(wait=False)

    def __repr__(self) -> str:
        return f"<WorkerPool of {self.workers} processes>"


_open_pools: weakref.WeakSet[Dispatcher] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """At the end of the interpreter wait for what was submitted, unless an exception ends it."""
    failed = getattr(sys, "last_value", None) is not None
    for dispatcher in list(_open_pools):
        dispatcher.close(wait=True, kill=failed)
