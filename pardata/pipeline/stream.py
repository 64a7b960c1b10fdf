"""The user's side of a pipeline: a stream is the output of a stage, an ordinary value. Running it starts all stages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pardata.data.file_array import ArrayObject
from pardata.errors import ConfigError
from pardata.pipeline.arguments import Unpacking, with_arguments
from pardata.pipeline.builtin_generators import Reduce
from pardata.pipeline.never_run import note_used
from pardata.pipeline.new_stage import (
    Machine,
    StreamChunksize,
    WorkerKind,
    array_use,
    checked_count,
    checked_fold,
    checked_function,
    checked_size,
    is_thread,
    new_branch,
    new_sink,
    new_stage,
    plain_function,
    workplace,
)
from pardata.pipeline.plan.error_policy import ErrorPolicy, Errors
from pardata.pipeline.plan.node import Kind, Node, WorkerCount, inputs_first, name_of
from pardata.pipeline.regrouping import Regrouping
from pardata.runtime.method_names import named_as_called


@named_as_called
class Stream(Regrouping):
    """The output of a stage.

    Using a stream twice is a fan-out: both readers get every item, large arrays from the same block. Received arrays
    are read-only unless the stage says ``writable=True`` or ``inplace=True``; small ones (below 16 KiB) and those that
    other objects hold are the reader's own. A stage that is given wrong arguments raises `ConfigError` at once.

    Examples
    --------
    >>> list(pardata.source(["7", "8"]).map(int).map(float))
    [7.0, 8.0]
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the nodes one after the other: each would lead to its inputs, and a long chain too deep."""
        note_used(self._node)
        return _stream_of, (inputs_first(self._node),)

    def map(
        self,
        fn: Callable[..., Any],
        *args: Any,
        workers: WorkerCount = 1,
        ordered: bool = True,
        inplace: bool = False,
        writable: bool = False,
        chunksize: StreamChunksize = "auto",
        errors: Errors = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        kind: WorkerKind = "process",
        concurrency: int | None = None,
        on: Machine = "nodes",
        name: str | None = None,
        **kwargs: Any,
    ) -> Stream:
        """Return the stream of ``fn(item, *args, **kwargs)``.

        Parameters
        ----------
        fn : callable
            Any: a lambda or a closure as well. Must not depend on other items: each worker has its own copy. The calls
            of a coroutine function (``async def``) are awaited, several at a time in one event loop. A class
            whose objects can be called, or an object with `open` or `close`, is a stage with a state per worker:
            `open` is called before its first item, `close` at the end, also if the run is ended early
            and the call under way ends within two seconds.
        *args, **kwargs
            More arguments of `fn`, the same for all items; large arrays are shared. For names of options use a partial.
        workers : int or "auto"
            Processes that share the work; a free one gets the next item. "auto": as many of the run's `cores` as help.
        ordered : bool
            Keep the order of the input; else hand on each result when it is finished.
        inplace : bool
            `fn` may change the arrays of its item. To return the changed array passes on the same memory. If a
            worker is killed half-way, the item is lost and the run fails.
        writable : bool
            `fn` may change the arrays of its item, which are copies of its own: others may read the item as well, and
            it may be tried again.
        chunksize : int (items per message) or "auto"
            The least that any stage asks for counts, from the source on.
        errors : "raise", "skip" or "stream"
            The treatment of a failed item: end the run; drop it, count it and name it in the report; or hand it on as a
            `DeadLetter` in the stream `failed`. An item fails if `fn` raises, if its result cannot be pickled, if it
            has cost three workers their lives, or if it takes too long.
        max_errors : int or float, optional
            How many items may fail before the run does: a number, or a fraction of the items (0.01), which counts from
            the 100th item on and at the end.
        retries : int
            How often an item is tried again after an exception or after `timeout_s`.
        timeout_s : float, seconds, optional
            A call that takes longer is ended: its worker process is killed and replaced. `DeadlineExceeded` if that was
            the last try. Checked whenever a loop over the stream waits for its next item. A run on threads refuses it,
            as a thread cannot be ended; a serial one, which is for debugging, ends nothing. A call of a coroutine
            function is cancelled in place of that, at what it awaits, with any engine.
        kind : "process" or "thread"
            "thread": the workers are threads of the calling process, for functions that wait for disks and networks.
        concurrency : int, 1 to 1024, optional
            Of a coroutine function: how many calls are at work at a time in each worker; default 16. Without `inplace`.
        on : "nodes" or "home"
            "home": the stage runs on the caller's machine also where the engine is a cluster (docs/cluster.md).
        name : str, optional
            The stage's name in reports, errors and drawings; default: that of `fn`.

        Raises
        ------
        ConfigError
            A wrong argument.

        Examples
        --------
        >>> import pardata
        >>> list(pardata.source([1, 2, 3]).map(lambda number: number**2, workers=2))
        [1, 4, 9]
        """
        return self._then(
            Kind.MAP, with_arguments(fn, args, kwargs), name, workers=workers, ordered=ordered,
            arrays=array_use(inplace, writable), chunksize=checked_size(chunksize),
            on_error=ErrorPolicy(errors, max_errors, retries, timeout_s), workplace=workplace(kind, on),
            concurrency=concurrency, branches=2 if errors == "stream" else 1,
        )  # fmt: skip

    def starmap(self, fn: Callable[..., Any], **options: Any) -> Stream:
        """Return the stream of ``fn(*item)``: the items are tuples of arguments. Other arguments and errors as `map`.

        >>> import pardata
        >>> list(pardata.source([(2, 5), (3, 2)]).starmap(pow, workers=2))
        [32, 9]
        """
        return self.map(Unpacking(checked_function(fn)), **options)

    @property
    def failed(self) -> Stream:
        """The dead letters of a stage with ``errors="stream"``: a stream of `DeadLetter`.

        Raises `ConfigError` for another stage.
        """
        if self._node.on_error.errors != "stream" or self._node.kind not in (Kind.MAP, Kind.FILTER):
            raise ConfigError(f'stream {self._node.name!r} has no `failed`: its stage needs errors="stream"')
        return Stream(new_branch(self._node, 1, f"{self._node.name}.failed"))

    def filter(
        self,
        predicate: Callable[[Any], Any] | None,
        *,
        workers: WorkerCount = 1,
        ordered: bool = True,
        writable: bool = False,
        chunksize: StreamChunksize = "auto",
        errors: Errors = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        kind: WorkerKind = "process",
        concurrency: int | None = None,
        on: Machine = "nodes",
        name: str | None = None,
    ) -> Stream:
        """Return the stream of the items for which ``predicate(item)`` is true; other arguments and errors as `map`.

        None stands for `bool`, as for Python's `filter`. An item that is dropped before a `zip` drops its pair.

        >>> import pardata
        >>> list(pardata.source([1, 2, 3]).filter(lambda number: number != 2))
        [1, 3]
        """
        return self._then(
            Kind.FILTER, bool if predicate is None else predicate, name, workers=workers, ordered=ordered,
            chunksize=checked_size(chunksize),
            arrays=array_use(False, writable), workplace=workplace(kind, on),
            on_error=ErrorPolicy(errors, max_errors, retries, timeout_s),
            concurrency=concurrency, branches=2 if errors == "stream" else 1,
        )  # fmt: skip

    def reduce(self, fn: Callable[[Any, Any], Any], initial: Any, *, name: str | None = None) -> Stream:
        """Return the stream of one item: ``fn(... fn(fn(initial, item), item) ..., item)``.

        The value so far is saved with every message, and may be changed by `fn`.

        >>> import pardata
        >>> list(pardata.source([1, 2, 3]).reduce(lambda total, item: total + item, 0))
        [6]
        """
        return self._then(Kind.GENERATOR, Reduce(checked_fold(plain_function(fn)), initial), name or name_of(fn))

    def partition(self, key: Callable[[Any], Any], n: int, *, name: str | None = None) -> tuple[Stream, ...]:
        """Return `n` streams that share the items by key: the same key goes always to the same one. Read them all.

        Parameters
        ----------
        key : callable
            Returns an int (the stream is its remainder by `n`), a str, bytes, or an object whose equals pickle alike.
        n : int, at least 1

        Examples
        --------
        >>> import pardata
        >>> even, odd = pardata.source([1, 2, 3]).partition(lambda number: number, 2)
        >>> sorted(pardata.merge(even, odd.map(lambda number: -number)))
        [-3, -1, 2]
        """
        node = new_stage(self._node, Kind.PARTITION, key, name, branches=checked_count("partition", "n", n))
        return tuple(Stream(new_branch(node, index, f"{node.name}[{index}]")) for index in range(n))

    def scatter(self, n: int) -> tuple[Stream, ...]:
        """Return `n` streams (at least 1) that share the items: each message goes to one that is free. Read them all.

        Read them to their ends, too: a `take` on some of them is a PlanError, since the items that still went there
        would be lost, as they are behind a generator filter that ends early.

        >>> import pardata
        >>> sorted(pardata.merge(*pardata.source([1, 2, 3]).scatter(2)))
        [1, 2, 3]
        """
        node = new_stage(self._node, Kind.SCATTER, None, "scatter", branches=checked_count("scatter", "n", n))
        return tuple(Stream(new_branch(node, index, f"scatter[{index}]")) for index in range(n))

    def to(
        self,
        sink: list[Any] | str | os.PathLike[str] | ArrayObject | Callable[[Any], Any],
        *,
        kind: WorkerKind = "process",
        concurrency: int | None = None,
        name: str | None = None,
        key: str | None = None,
        compression: Any = None,
    ) -> Stream:
        """Return a stream without items that writes its input to `sink` when it is run.

        Parameters
        ----------
        sink : list, path of a .npy, .zarr, .h5, .tif or .parquet file, zarr.Array, h5py.Dataset, or callable
            A list of the calling process is appended to, in order. The rows of a file are written in place, in order;
            it has its name only when it is whole. An array that is open for writing gets all of its rows, of items that
            are rows or blocks of them. A thread of the calling process writes these and new files (but .npy), whole
            chunks at a time; items for Parquet are tables. A function is called with each item, in order, in a process.
        kind : "process" or "thread"
            "thread": the function is called in one thread of the calling process, which is not that of the caller, for
            what cannot go to another process: an open file of h5py, a figure, a counter of the script. It is never
            called twice at a time, nor again for an item. After an error in it, or Ctrl-C, it is called no more; `run`
            raises half a second later at the latest, also if a call has not come back by then.
        concurrency : int, optional
            Of a coroutine function, as for `map`: its calls begin in order.
        key : str, optional
            The name of the array in a new HDF5 file; default: "data".
        compression : str, optional
            Of a new .h5, .tif or .parquet file, as its library names it ("gzip", "zlib", "zstd").

        Raises
        ------
        ConfigError
            `sink` is none of these, or for a process the method of a list, set, dict or deque; an array that is open
            for reading; a path in no folder. When run: there is something (for .npy a folder) where a file is to be.

        Examples
        --------
        >>> import pardata
        >>> squares = []
        >>> report = pardata.source([1, 2]).map(lambda number: number**2).to(squares).run()
        >>> squares
        [1, 4]
        """
        return Stream(new_sink(self._node, sink, name, is_thread(kind), concurrency, key, compression))

    def __or__(self, generator_function: Callable[[Iterator[Any]], Iterable[Any]]) -> Stream:
        """Return the stream of the items of ``generator_function(items)``: a stateful filter, in a process of its own.

        Set up before its loop, tear down after it. An exception that leaves it ends the run. Its items are numbered
        anew, so they cannot be zipped with a stream that does not go through it. If its process is killed its state is
        lost, and the run fails; unless it is an object with `snapshot`, which returns all the state, and `restore`,
        which takes it: then another process goes on.

        >>> import itertools, pardata
        >>> list(pardata.source([1, 2, 3]) | itertools.accumulate)
        [1, 3, 6]
        """
        return self._then(Kind.GENERATOR, generator_function, None)

    def _then(self, kind: Kind, fn: Any, name: str | None, **options: Any) -> Stream:
        return Stream(new_stage(self._node, kind, fn, name, **options))


def _stream_of(nodes: list[Node]) -> Stream:
    return Stream(nodes[-1])
