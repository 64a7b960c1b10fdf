"""What the user holds: a stream is the output of a stage, an ordinary value. Nothing runs before it is run."""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np

from pardata.errors import ConfigError
from pardata.pipeline import run as running
from pardata.pipeline.builtin_generators import Batches, FlatMap, ListOf, NpyWriter, Reduce, Windows, flatten
from pardata.pipeline.dry_run_report import DryRun
from pardata.pipeline.plan.draw import as_svg, as_text
from pardata.pipeline.plan.node import Errors, Kind, Node, inputs_first, name_of, user_line
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import STALL_S, Engine, Run, RunOptions, start
from pardata.runtime.progress import RunReport

WorkerKind = Literal["process", "thread"]
Chunksize = int | Literal["auto"]


def _size(chunksize: Chunksize) -> Any:
    return None if isinstance(chunksize, str) and chunksize == "auto" else chunksize


class Stream:
    """The output of a stage.

    Using a stream twice is a fan-out: both readers get every item, large arrays from the same block. Received arrays
    are read-only unless the stage says ``inplace=True``.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy the nodes one after the other: each would lead to its inputs, and a long chain too deep."""
        return _stream_of, (inputs_first(self._node),)

    def map(
        self,
        fn: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        inplace: bool = False,
        chunksize: Chunksize = "auto",
        errors: Errors = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        kind: WorkerKind = "process",
        name: str | None = None,
    ) -> Stream:
        """Return the stream of ``fn(item)``.

        Parameters
        ----------
        fn : callable
            Any: a lambda or a closure as well. Must not depend on other items: each worker has its own copy. A class
            whose objects can be called, or an object with `open` or `close`, is a stage with a state per worker:
            `open` is called before its first item, `close` at the end, also if the run is ended early.
        workers : int
            Processes that share the work; each free one gets the next item.
        ordered : bool
            Keep the order of the input; else hand on what is finished first.
        inplace : bool
            `fn` may change the arrays of its item. To return the changed array passes on the same memory. If a
            worker is killed half-way, the item is lost and the run fails.
        chunksize : int or "auto"
            Items per message. The least that any stage asks for counts, from the source on.
        errors : "raise", "skip" or "stream"
            What is done with an item that failed: end the run; drop it, count it and name it in the report; or hand it
            on as a `DeadLetter` in the stream `failed`. An item fails if `fn` raises, if its result cannot be
            pickled, if it has cost three workers their lives, or if it takes too long.
        max_errors : int or float, optional
            How many items may fail before the run does: a number, or a fraction of the items (0.01), which counts from
            the 100th item on and at the end.
        retries : int
            How often an item is tried again after an exception or after `timeout_s`.
        timeout_s : float, optional
            What takes longer is ended: its worker process is killed and replaced. `DeadlineExceeded` if that was the
            last try. Looked at whenever a loop over the stream waits for its next item. A run on threads refuses it, as
            a thread cannot be ended; a serial one, which is for looking at code step by step, ends nothing.
        kind : "process" or "thread"
            "thread": the workers are threads of the calling process, for what waits for disks and networks.

        Raises
        ------
        ConfigError
            A wrong argument.
        """
        return self._then(
            Kind.MAP,
            fn,
            name,
            workers=workers,
            ordered=ordered,
            inplace=inplace,
            chunksize=_size(chunksize),
            errors=errors,
            max_errors=max_errors,
            retries=retries,
            timeout_s=timeout_s,
            thread=_is_thread(kind),
            branches=2 if errors == "stream" else 1,
        )

    @property
    def failed(self) -> Stream:
        """The dead letters of a stage with ``errors="stream"``: a stream of `DeadLetter`."""
        if self._node.errors != "stream" or self._node.kind not in (Kind.MAP, Kind.FILTER):
            raise ConfigError(f'stream {self._node.name!r} has no `failed`: its stage needs errors="stream"')
        return _branch(self._node, 1, f"{self._node.name}.failed")

    def filter(
        self,
        predicate: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        chunksize: Chunksize = "auto",
        errors: Errors = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        kind: WorkerKind = "process",
        name: str | None = None,
    ) -> Stream:
        """Return the stream of the items for which ``predicate(item)`` is true; else as `map`.

        An item that is dropped before a `zip` drops its pair.
        """
        return self._then(
            Kind.FILTER,
            predicate,
            name,
            workers=workers,
            ordered=ordered,
            chunksize=_size(chunksize),
            errors=errors,
            max_errors=max_errors,
            retries=retries,
            timeout_s=timeout_s,
            thread=_is_thread(kind),
            branches=2 if errors == "stream" else 1,
        )

    def flat_map(
        self,
        fn: Callable[[Any], Iterable[Any]],
        *,
        workers: int = 1,
        ordered: bool = True,
        errors: Literal["raise", "skip"] = "raise",
        max_errors: int | float | None = None,
        retries: int = 0,
        timeout_s: float | None = None,
        name: str | None = None,
    ) -> Stream:
        """Return the stream of the items of ``fn(item)``, any number for each; they are numbered anew. Else as `map`.

        One worker sends what `fn` yields as it comes. Several workers, ``errors="skip"``, `retries` and `timeout_s`
        wait for all of it, and a failed item leaves nothing behind.
        """
        if errors not in ("raise", "skip"):
            raise ConfigError(f'flat_map: errors must be "raise" or "skip", not {errors!r}')
        if workers == 1 and errors == "raise" and not retries and timeout_s is None:
            return self._then(Kind.PIPE, FlatMap(_checked(fn)), name or name_of(fn), max_errors=max_errors)
        made = self._then(
            Kind.MAP,
            ListOf(_checked(fn)),
            name or name_of(fn),
            workers=workers,
            ordered=ordered,
            errors=errors,
            max_errors=max_errors,
            retries=retries,
            timeout_s=timeout_s,
        )
        return made.unbatch()

    def batch(self, n: int, *, drop_last: bool = False) -> Stream:
        """Return the stream of lists of `n` items; the last one may be shorter, unless `drop_last`."""
        return self._regroup(f"batch({n})", Batches(_count("batch", "n", n), drop_last))

    def unbatch(self) -> Stream:
        """Return the stream of what is in the items: lists, arrays (row by row), or other iterables."""
        return self._regroup("unbatch", flatten)

    def window(self, size: int, step: int = 1) -> Stream:
        """Return the stream of lists of `size` items in a row, a new one every `step` items; only whole ones."""
        made = Windows(_count("window", "size", size), _count("window", "step", step))
        return self._regroup(f"window({size}, {step})", made)

    def _regroup(self, name: str, fn: Any) -> Stream:
        """As a thread of the calling process: it only passes references on, and what it holds dies with nobody."""
        return self._then(Kind.PIPE, fn, name, thread=True)

    def reduce(self, fn: Callable[[Any, Any], Any], initial: Any, *, name: str | None = None) -> Stream:
        """Return the stream of one item: `fn` of what has come so far and the next item, from `initial` on.

        What has come so far is saved with every message, and may be changed by `fn`.
        """
        return self._then(Kind.PIPE, Reduce(_checked(fn), initial), name or name_of(fn))

    def partition(self, key: Callable[[Any], Any], n: int, *, name: str | None = None) -> tuple[Stream, ...]:
        """Return `n` streams that share the items by key: the same key goes always to the same one.

        Parameters
        ----------
        key : callable
            Returns an int (the stream is its remainder by `n`), a str, bytes, or what pickles alike if it is alike.
        """
        node = self._then(Kind.PARTITION, key, name, branches=_count("partition", "n", n))._node
        return tuple(_branch(node, index, f"{node.name}[{index}]") for index in range(n))

    def scatter(self, n: int) -> tuple[Stream, ...]:
        """Return `n` streams that share the items: each message goes to one that is free."""
        node = self._then(Kind.SCATTER, None, "scatter", branches=_count("scatter", "n", n))._node
        return tuple(_branch(node, index, f"scatter[{index}]") for index in range(n))

    def to(self, sink: Any, *, name: str | None = None) -> Stream:
        """Return a stream without items that writes what comes to `sink` when it is run.

        Parameters
        ----------
        sink : list, path of a .npy file, or callable
            A list of the calling process is appended to, in order. The rows of a file are written in place, in order;
            it has its name only when it is whole. A function is called with each item, in order, in a process.
        """
        if isinstance(sink, list):
            return self._then(Kind.SINK, sink.append, name or "list", thread=True, is_sink=True)
        if isinstance(getattr(sink, "__self__", None), list | set | dict | deque):
            raise ConfigError(
                f"to({sink.__self__.__class__.__name__}.{sink.__name__}): a process would fill a copy of it; give a "
                f"list itself, or take the items with a loop over the stream"
            )
        if isinstance(sink, str | os.PathLike):
            path = os.path.abspath(os.fspath(sink))
            if not path.endswith(".npy"):
                raise ConfigError(f"to({str(sink)!r}): a path must be that of a .npy file; for others give a function")
            return self._then(Kind.PIPE, NpyWriter(path), name or os.path.basename(path), is_sink=True)
        if not callable(sink):
            raise ConfigError(f"to({sink!r}): a sink is a list, the path of a .npy file, or a function")
        return self._then(Kind.SINK, sink, name, is_sink=True)

    def __or__(self, generator_function: Callable[[Iterator[Any]], Iterable[Any]]) -> Stream:
        """Return the stream of what ``generator_function(items)`` yields: a stateful filter, in a process of its own.

        Set up before its loop, tear down after it. What it raises ends the run: it can handle its errors itself. Its
        items are numbered anew, so it cannot be zipped with a stream that does not go through it. If its process is
        killed its state is lost, and the run fails; unless it is an object with `snapshot`, which returns all the
        state, and `restore`, which takes it: then another goes on.
        """
        return self._then(Kind.PIPE, generator_function, None)

    def _then(self, kind: Kind, fn: Any, name: str | None, **options: Any) -> Stream:
        if inspect.iscoroutinefunction(fn):
            raise ConfigError(
                f"{name_of(fn)!r} is a coroutine function, and a stage awaits nothing: call asyncio.run in a function, "
                f"or give an asynchronous generator function to pardata.source"
            )
        if kind is not Kind.PIPE and inspect.isgeneratorfunction(fn):
            raise ConfigError(
                f"{name_of(fn)!r} is a generator function, which takes all items: use stream | {name_of(fn)}"
            )
        if self._node.is_sink:
            raise ConfigError(
                f"nothing comes out of {self._node.name!r} ({self._node.where}): what `to` returns can be run"
            )
        return Stream(Node(kind, name or name_of(fn), fn, (self._node,), where=user_line(), **options))

    def iterate(
        self,
        *,
        engine: Engine = "processes",
        progress: Any = False,
        tokens: int | None = None,
        memory_limit: float | None = None,
        max_restarts: int | None = None,
        stall_s: float | None = STALL_S,
    ) -> Run:
        """Start a run and return it: an iterator over the items.

        Parameters
        ----------
        engine : "processes", "threads" or "serial"
            "serial" runs everything in the calling thread, one item after the other: for debugging, and the
            reference for the others.
        progress : bool, or a class or function like tqdm
            Show a bar per stage. What is called for the bars stays in this process.
        tokens : int, optional
            Messages of one source that may be in flight, at most 4096; default: 2 x workers + stages, and where
            messages are small 64, or 32 for each worker of the widest stage.
        memory_limit : int, optional
            Bytes of shared memory the run may hold, its tables and channels included; default: half of what is
            available. A loop over the stream keeps the item that it is at: it needs one more than `run`.
        max_restarts : int, optional
            How many killed workers are replaced before the run fails; default: any number.
        stall_s : float, optional
            Seconds without progress after which one warning says who waits for whom; None: never.

        Raises
        ------
        ConfigError
            A stage's function cannot be pickled, the plan is wrong (`PlanError`), or an argument is; nothing was
            started.
        """
        options = RunOptions(progress, tokens, memory_limit, max_restarts, stall_s)
        return start(Plan(self._node, iterated=True), engine, options)

    def run(
        self,
        *,
        engine: Engine = "processes",
        progress: Any = False,
        tokens: int | None = None,
        memory_limit: float | None = None,
        max_restarts: int | None = None,
        stall_s: float | None = STALL_S,
    ) -> RunReport:
        """Run to the end, drop the output, and return the report; arguments and errors as for `iterate`.

        An exception of the user's code is raised as its own type, with a note of stage and item and the remote
        traceback.
        """
        options = RunOptions(progress, tokens, memory_limit, max_restarts, stall_s)
        return start(Plan(self._node, iterated=False), engine, options).finish()

    def __iter__(self) -> Iterator[Any]:
        with self.iterate() as run:
            yield from run

    def dry_run(self, *items: Any) -> DryRun:
        """Run one item through all stages, in the calling thread, and return what each made of it.

        Parameters
        ----------
        *items
            One for each source, in the order in which they are needed; without any, the first of each source. Sinks
            are left out.

        Returns
        -------
        DryRun
            ``print`` shows, per stage, shape, dtype and bytes of what it hands on, and the seconds it took.
        """
        return running.dry_run(Plan(self._node, iterated=False), items)

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write a picture of the graph to an SVG file."""
        if not os.fspath(path).endswith(".svg"):
            raise ConfigError(f"draw({str(path)!r}): pictures are SVG files: the path must end in .svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self._repr_svg_())

    def _repr_svg_(self) -> str:
        """Return the picture that a notebook shows."""
        return as_svg(Plan(self._node, iterated=False, is_whole=False))

    def __str__(self) -> str:
        """Return the graph as text: a line per stage, from the sources down."""
        return as_text(Plan(self._node, iterated=False, is_whole=False))

    def __repr__(self) -> str:
        return f"<Stream {' <- '.join(_chain(self._node))}>"


def _stream_of(nodes: list[Node]) -> Stream:
    return Stream(nodes[-1])


def _chain(node: Node) -> list[str]:
    names = [node.name]
    while len(node.inputs) == 1:
        node = node.inputs[0]
        names.append(node.name)
    if node.inputs:
        names.append(f"({', '.join(given.name for given in node.inputs)})")
    return names


def _branch(node: Node, index: int, name: str) -> Stream:
    return Stream(Node(Kind.BRANCH, name, None, (node,), branch=index, where=node.where))


def _is_thread(kind: str) -> bool:
    if kind not in ("process", "thread"):
        raise ConfigError(f'({user_line()}): kind must be "process" or "thread", not {kind!r}')
    return kind == "thread"


def _count(what: str, name: str, value: Any) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{what}: {name} must be an int of at least 1, not {value!r}")
    return int(value)


def _checked(fn: Any) -> Any:
    if not callable(fn):
        raise ConfigError(f"a function is needed, not {type(fn).__name__}")
    return fn
