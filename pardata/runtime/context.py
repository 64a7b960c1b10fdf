"""The context of a task of a pool, or of a stage's call: `pardata.worker()`."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np

from pardata.runtime import bars
from pardata.runtime.bars import Say, TaskBar, TaskBars


class WorkerContext:
    """The worker that the calling code runs in. One object per worker.

    Attributes
    ----------
    index : int
        0 .. workers - 1; a replacement has the index of the worker it replaces.
    workers : int
        Of the pool, or of the stage.
    pool : str
        The name of the pool, or of the stage.
    shared : object
        The pool's argument ``shared=``; its arrays lie in shared memory and are read-only. None in a stage.
    """

    def __init__(
        self,
        index: int,
        workers: int,
        pool: str,
        shared: Any = None,
        seed: int | None = None,
    ) -> None:
        self.index = index
        self.workers = workers
        self.pool = pool
        self.shared = shared
        self._seed = seed
        self._job = 0
        self._begin = 0
        self._done: Sequence[Any] = ()
        self._random: tuple[tuple[int, ...], np.random.Generator] | None = None
        self._bars: weakref.WeakSet[TaskBar] | None = None  # a bar that nobody holds closes itself
        self._bars_of: tuple[int, ...] = ()

    def _enter(self, job: int, begin: int, done: Sequence[Any] = ()) -> None:
        """Note that calls begin: for item ``begin + len(done)`` of a job of the pool; perhaps at another attempt."""
        self._job, self._begin, self._done = job, begin, done
        self._random = None

    def _leave(self) -> None:
        """Note that the calls are over."""
        self._close_bars()
        self._enter(0, 0)

    @property
    def item(self) -> int:
        """Number of the item (of `map_array`: of its first row) that is being worked on."""
        return self._begin + len(self._done)

    def _key(self) -> tuple[int, ...]:
        """Return the numbers that tell the call at hand from all others of the pool, or of the run."""
        return self._job, self.item

    def _try_again(self) -> None:
        """Note that the call at hand begins anew: it is to draw the same random numbers."""
        self._random = None
        of_thread.retries += 1

    @property
    def random(self) -> np.random.Generator:
        """A random generator for this item: the same in every worker, at every attempt, in every chunk.

        In a pool it depends on the pool's ``seed=``, on how many calls, maps and so on the pool was asked for before,
        and on the number of the item. In a stream it depends on the run's ``seed=``, on the place of the stage among
        those of the run, and on the number of the item; a source has one for all its items. Asked for again during the
        same item it goes on.

        Source: spawn keys of numpy.random.SeedSequence
        """
        key = self._key()
        if self._random is None or self._random[0] != key:
            self._random = key, np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))
        return self._random[1]

    def progress(
        self, iterable: Iterable[Any] | None = None, *, total: float | None = None, desc: str = "", unit: str = "it"
    ) -> TaskBar:
        """Return a progress bar of this task's own, drawn by the main process below those of its maps.

        Iterate over it, as ``for x in pardata.worker().progress(xs)``, or call its `update`. The end of the item
        takes it away.

        Parameters
        ----------
        total : number, optional
            Default: the length of `iterable`, if it has one.
        """
        now = self._key()
        if now != self._bars_of:
            self._close_bars()
            self._bars_of = now
        bar = TaskBar(bars.say or self._draw_here(), iterable, total, desc, unit)
        if self._bars is None:
            self._bars = weakref.WeakSet()
        self._bars.add(bar)
        return bar

    def _draw_here(self) -> Say:
        drawn, owner = TaskBars(), f"{self.pool} {self.index}"
        return lambda key, state: drawn.show(owner, key, state)

    def _close_bars(self) -> None:
        open_, self._bars = self._bars, None
        if open_ is not None:
            for bar in list(open_):
                bar.close()

    def __repr__(self) -> str:
        return f"<worker {self.index} of {self.workers} of {self.pool}>"


class _OfThread(threading.local):
    """The context of each thread that has one of its own, and how many calls were begun anew in it."""

    context: WorkerContext | None = None
    retries = 0


of_thread: Final = _OfThread()
_of_process: WorkerContext | None = None


def set_context(context: WorkerContext, is_thread: bool = False) -> None:
    """Set the context that `worker` returns in this process, or in this thread alone."""
    global _of_process
    if is_thread:
        of_thread.context = context
    else:
        _of_process = context


def worker() -> WorkerContext:
    """Return the context of the calling code: within a task of a pool or a stage its worker's, else one with index 0.

    So a function that asks for its random generator can be called directly as well.

    Examples
    --------
    >>> import pardata
    >>> 0 <= pardata.worker().random.random() < 1
    True
    >>> with pardata.WorkerPool(1) as pool:
    ...     pool.submit(lambda: pardata.worker().index).result()
    0
    >>> dice = pardata.source(range(4)).map(lambda _: int(pardata.worker().random.integers(1, 7)))
    >>> list(dice.iterate(seed=1)) == list(dice.iterate(seed=1, engine="serial"))
    True
    """
    found = _found()
    return found if found is not None else WorkerContext(0, 1, f"process {os.getpid()}")


def _found() -> WorkerContext | None:
    return of_thread.context or _of_process
