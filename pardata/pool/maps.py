"""The maps of a pool over items: all are made of one iterator over results, and differ in its options."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any

from pardata.checkpoint.fingerprint import digest, digest_of_items
from pardata.checkpoint.folder import Folder, check_restart
from pardata.checkpoint.results import ResultLog
from pardata.errors import ConfigError
from pardata.modules.function_name import function_name
from pardata.pool.backend import Backend
from pardata.pool.jobs.chunking import Chunks, Chunksize, parse_chunksize
from pardata.pool.jobs.map import MapJob
from pardata.pool.options import check_least, check_writable
from pardata.pool.results import Results
from pardata.runtime.option_names import OF_POOLS, tells_options
from pardata.runtime.stage_bars import Bars, check_progress


class MapMethods:
    """The methods of a pool that call a function for each item."""

    _backend: Backend
    _code: Callable[[Callable[..., Any]], Any]

    @property
    def workers(self) -> int:
        """The number of workers; of all nodes, with `cluster`."""
        return self._backend.setup.workers

    @tells_options(OF_POOLS)
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: Chunksize = "auto",
        buffersize: int | None = None,
        writable: bool | None = None,
        progress: Any = False,
        checkpoint: str | os.PathLike[str] | None = None,
        restart: bool = False,
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
        checkpoint : path of a folder, optional
            Results are stored there, some times in a second. After a kill, a power cut or an error the same call takes
            them from there, and computes the others. See docs/checkpoints.md.
        restart : bool
            Begin again, whatever is in the folder.

        Raises
        ------
        ConfigError
            A wrong `chunksize` or `buffersize`, or `fn` cannot be pickled; or the checkpoint belongs to another
            function or other items. An error of `fn` is raised where its result
            would come.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if buffersize is not None:
            check_least("buffersize", buffersize, int, 1)
        star = len(iterables) != 1
        items: Any = zip(*iterables, strict=False) if star else iterables[0]
        check_restart(checkpoint, restart)
        if checkpoint is not None:
            if buffersize is not None:
                raise ConfigError("map: checkpoint= and buffersize=: items are compared with those of the call before")
            return self._going_on(checkpoint, restart, fn, items, star=star, deadline=deadline, chunksize=chunksize,
                                  writable=writable, progress=progress)  # fmt: skip
        return self.results(fn, items, star=star, deadline=deadline, chunksize=chunksize, window=buffersize,
                            lazy=buffersize is not None, writable=writable, progress=progress)  # fmt: skip

    def _going_on(self, checkpoint: Any, restart: bool, fn: Any, items: Iterable[Any], **options: Any) -> Results:
        """Return the results of a map, of which an earlier call has stored some."""
        self._code(fn)
        given = items if isinstance(items, range) else list(items)
        parts = [(f"the function {function_name(fn)!r}", digest(fn)), ("the items", digest_of_items(given))]
        log = ResultLog(Folder(checkpoint, "map", parts, restart))
        try:
            return self.results(fn, given, log=log, **options)
        except BaseException:
            log.close()
            raise

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
        log: ResultLog | None = None,
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
        log : ResultLog, optional
            Of a map that goes on; it is closed with the results.
        """
        policy = parse_chunksize(chunksize)
        check_progress(progress)
        code = self._code(fn)
        backend = self._backend
        source = iter(items) if lazy else None
        given = [] if lazy else items if isinstance(items, range) else list(items)
        chunks = Chunks(policy, self.workers, None if lazy else len(given))
        backend.recent.append(chunks)
        job = MapJob(
            code, backend.next_number(), given, chunks, star=star, ordered=ordered, source=source,
            window=window, retries=backend.setup.retries, timed=backend.setup.timeout_s is not None,
            writable=backend.setup.writable if writable is None else check_writable(writable),
            log=log,
        )  # fmt: skip
        total = (length_hint(items) or None) if lazy else len(given)
        bars = Bars({"map": total}, "item", progress) if progress else None
        return Results(backend, job, deadline, ends, bars)
