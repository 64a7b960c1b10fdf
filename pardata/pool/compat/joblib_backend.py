"""joblib on pardata's workers: the class that joblib calls. Imports joblib; `pool.default` tells joblib of it.

A library that uses joblib, as scikit-learn for ``n_jobs=``, runs on warm worker processes then. Large arrays lie in
shared memory; one that many calls get is put there once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

import numpy as np
from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase, SequentialBackend

from pardata.codec.array_form import reduce_subclass
from pardata.memory.mapped import is_mapped
from pardata.memory.shared_array import is_array
from pardata.memory.shared_heap import shared_copy, shared_heap
from pardata.pool.arrays.addresses import is_shared
from pardata.runtime.isolation import settle
from pardata.runtime.library_limits import usable_cores

_SHARED_FROM_BYTES: Final = 1 << 20  # as joblib's own memory-mapping


class PardataBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """The three methods that joblib requires, and others that it may call.

    Parameters
    ----------
    warm_pool : callable
        Returns the `WorkerPool` that is used if it has as many workers as joblib asks for.
    new_pool : callable
        Makes another one, of so many workers.

    Source: joblib's documentation, "Custom backend API"
    """

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.2

    def __init__(self, warm_pool: Callable[[], Any], new_pool: Callable[[int], Any], **options: Any) -> None:
        super().__init__(**options)
        self._warm_pool = warm_pool
        self._new_pool = new_pool

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return max(1, usable_cores() + 1 + n_jobs) if n_jobs < 0 else n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        workers = self.effective_n_jobs(n_jobs)
        self.parallel = parallel
        warm = self._warm_pool()
        self._own = None if warm.workers == workers else self._new_pool(workers)
        self._pool = self._own or warm
        self._shared: dict[int, tuple[Any, Any]] = {}
        self._futures: set[Future[Any]] = set()
        return workers

    def submit(self, func: Any, callback: Callable[[Any], object] | None = None) -> Future[Any]:
        functions = list({id(fn): fn for fn, _, _ in func.items}.values())
        places = {id(fn): place for place, fn in enumerate(functions)}
        calls = [(places[id(fn)], *self._share((args, kwargs))) for fn, args, kwargs in func.items]
        func.items = []
        future: Future[Any] = self._pool.submit(_Batch(functions), func, calls)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit

    def _share(self, value: Any) -> Any:
        """Return `value` with its large arrays in shared memory, each put there once per use of the backend."""
        if type(value) is tuple:
            return tuple(map(self._share, value))
        if type(value) is dict:
            return {key: self._share(part) for key, part in value.items()}
        if not isinstance(value, np.ndarray) or value.nbytes < _SHARED_FROM_BYTES or value.dtype.hasobject:
            return value
        if is_shared(value) or is_mapped(value):
            return value
        if id(value) not in self._shared:
            self._shared[id(value)] = value, _shared(value)
        return self._shared[id(value)][1]

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        return out.result()

    def stop_call(self) -> None:
        self._shared.clear()

    def terminate(self) -> None:
        self._shared.clear()
        if self._own is not None:
            self._own.shutdown()
            self._own = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        for future in list(self._futures):
            future.cancel()
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)

    def get_nested_backend(self) -> tuple[Any, None]:
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def _shared(array: Any) -> Any:
    """Return a read-only copy of an array in shared memory, as far as its class lets its memory go there."""
    if is_array(array):
        copied = shared_copy(shared_heap().arena, array)
        copied.setflags(write=False)
        return copied
    reduced = reduce_subclass(array)
    if reduced is NotImplemented:
        return array
    make, parts = reduced
    return make(*(_shared(part) if is_array(part) and part.nbytes else part for part in parts))


def _settled(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Make one call of a batch: the next one may fill what this one returns again, and they are sent together."""
    results = [fn(*args, **kwargs)]
    settle(results)
    return results.pop()


class _Batch:
    """Runs a batch of joblib's. The functions travel as a pool's do, and not as arguments: as they are now.

    The arguments of its calls come beside it: arrays that it held would be its own, and copied.
    """

    def __init__(self, functions: list[Callable[..., Any]]) -> None:
        self._functions = functions

    def __call__(self, func: Any, calls: list[Any]) -> Any:
        is_batch = len(calls) > 1
        functions = [partial(_settled, fn) if is_batch else fn for fn in self._functions]
        func.items = [(functions[place], args, kwargs) for place, args, kwargs in calls]
        return func()
