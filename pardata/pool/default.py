"""The pool of the process: started at the first use, kept warm, ended when nobody has used it for a while.

`pardata.map`, `map_array`, `reduce_array` and `foreach_array` use it; so does joblib. Within a worker of a pool it is a
pool of that worker's share of the cores; if that is one core, a thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from pardata.errors import CapacityError, MissingExtraError
from pardata.pool.pool import WorkerPool
from pardata.process.capacity import explained, loading
from pardata.process.interrupts import start_thread
from pardata.process.system import at_fork
from pardata.runtime.library_limits import own_share

UNUSED_S: Final = 60.0  # after which the pool is ended; to start it takes about a tenth of a second


class _Warm:
    """A pool that is there when it is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: WorkerPool | None = None
        self._timer: threading.Timer | None = None
        self._used_s = 0.0

    def get(self) -> WorkerPool:
        """Return the pool; start it if there is none."""
        with self._lock:
            self._used_s = time.monotonic()
            if self._pool is None or not self._pool.is_open:
                self._pool = WorkerPool(kind="thread" if own_share() == 1 else "process")
            if self._timer is None:
                self._expect(UNUSED_S)
            return self._pool

    def _expect(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.name = "pardata-idle"
        timer.daemon = True
        with explained("the pool of this process"):
            start_thread(timer)
        self._timer = timer

    def _look(self) -> None:
        """Let go of the pool if it has been idle for long enough: it ends when no caller holds it either.

        It is not shut down: a caller may have asked for it long ago, and read the items of a map since then.
        """
        with self._lock:
            if self._pool is None or self._timer is not threading.current_thread():
                return  # it was closed, and perhaps asked for again
            self._timer = None
            rest = self._used_s + UNUSED_S - time.monotonic()
            if rest > 0 or self._pool.is_busy:
                with contextlib.suppress(CapacityError):  # the next caller tries again
                    self._expect(max(1.0, rest))
                return
            self._pool = None

    def close(self) -> None:
        """End the pool now, when its work is done."""
        with self._lock:
            pool, self._pool = self._pool, None
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            timer.join()
        if pool is not None:
            pool.shutdown()

    def forget(self) -> None:
        """In a forked child: the pool is its parent's."""
        self.__init__()  # type: ignore[misc]


_warm = _Warm()
at_fork(after_in_child=_warm.forget)


def default_pool() -> WorkerPool:
    """Return the process's own pool, of as many workers as there are cores to use. It ends by itself."""
    return _warm.get()


def shutdown() -> None:
    """End the process's own pool when its work is done, and return when its processes are gone.

    Nothing happens if there is none. The next use of `pardata.map` and the like starts another one. Ctrl-C meanwhile
    ends the running calls.

    Examples
    --------
    >>> list(pardata.map(abs, [-1]))
    [1]
    >>> pardata.shutdown()
    """
    _warm.close()


def map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Iterator[Any]:
    """Return an iterator over ``fn(*items)``, in order: `WorkerPool.map` of the process's own pool.

    The first call of a process starts it, a later one finds it warm.

    Examples
    --------
    >>> list(pardata.map(pow, [1, 2, 3], [2, 2, 2]))
    [1, 4, 9]
    """
    return default_pool().map(fn, *iterables, **options)


def map_array(fn: Callable[..., Any], array: Any, *arrays: Any, **options: Any) -> Any:
    """Apply `fn` to blocks of arrays and put the results together: `WorkerPool.map_array` of the process's own pool.

    Examples
    --------
    >>> print(pardata.map_array(np.sqrt, np.full((1000, 2), 4.0)).sum())
    4000.0
    """
    return default_pool().map_array(fn, array, *arrays, **options)


def reduce_array(fn: Callable[[Any], Any], array: Any, combine: Callable[[Any, Any], Any], **options: Any) -> Any:
    """Combine the results of `fn` for blocks of an array: `WorkerPool.reduce_array` of the process's own pool.

    Examples
    --------
    >>> print(pardata.reduce_array(np.max, np.arange(1000), max))
    999
    """
    return default_pool().reduce_array(fn, array, combine, **options)


def foreach_array(fn: Callable[[Any], Any], array: Any, **options: Any) -> None:
    """Call `fn` with blocks of an array that it may change: `WorkerPool.foreach_array` of the process's own pool.

    Examples
    --------
    >>> rows = pardata.array([[3, 1, 2], [6, 5, 4]])
    >>> pardata.foreach_array(np.ndarray.sort, rows)
    >>> rows.tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    default_pool().foreach_array(fn, array, **options)


def register_joblib(name: str = "pardata", make_default: bool = False) -> None:
    """Tell joblib of a backend of this name; with `make_default` it is used from now on.

    Else ``joblib.parallel_config(backend="pardata")`` has a library use it, as scikit-learn for ``n_jobs=``.

    Raises
    ------
    MissingExtraError
        joblib is not installed.
    """
    try:
        with loading("the backend for joblib"):
            from joblib import register_parallel_backend
    except ImportError as error:
        raise MissingExtraError('joblib is not installed: pip install "pardata[joblib]"') from error
    with loading("the backend for joblib"):
        from pardata.pool.compat.joblib_backend import PardataBackend

    register_parallel_backend(name, partial(PardataBackend, default_pool, WorkerPool), make_default=make_default)
