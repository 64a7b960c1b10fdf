"""What the user holds: a stream is the output of a stage, an ordinary value. Nothing runs before it is run."""

from __future__ import annotations

import inspect
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

from pardata.errors import ConfigError
from pardata.pipeline.plan import Errors, Kind, Node, Plan, user_line
from pardata.runtime.progress import RunReport

MOST_TOKENS: Final = 4096  # so that all a channel has in flight can be named in one message

Engine = Literal["processes", "threads", "serial"]
Chunksize = int | Literal["auto"]


class Run(Iterator[Any]):
    """One execution of a stream: an iterator over its items, and a context manager that ends it.

    After `close` (also at the end of the ``with`` block, and when the last item was taken) no process of the run and no
    memory is left but for the arrays that are still held.
    """

    @abstractmethod
    def report(self) -> RunReport:
        """Return what has been counted so far."""

    @abstractmethod
    def close(self) -> None:
        """End the run, finished or not. Returns when every process is gone."""

    def finish(self) -> RunReport:
        """Run to the end without taking items; close; return the report."""
        try:
            for _ in self:
                pass
            return self.report()
        finally:
            self.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _name_of(fn: Any) -> str:
    name = getattr(fn, "__name__", None) or type(fn).__name__
    return "lambda" if name == "<lambda>" else str(name)


def _size(chunksize: Chunksize) -> Any:
    return None if isinstance(chunksize, str) and chunksize == "auto" else chunksize


class Stream:
    """The output of a stage.

    Using a stream twice is a fan-out: both readers get every item, large arrays from the same block. Received arrays
    are read-only unless the stage says ``inplace=True``.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def map(
        self,
        fn: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        inplace: bool = False,
        chunksize: Chunksize = "auto",
        errors: Errors = "raise",
        name: str | None = None,
    ) -> Stream:
        """Return the stream of ``fn(item)``.

        Parameters
        ----------
        fn : callable
            Any: a lambda or a closure as well. Must not depend on other items: each worker has its own copy.
        workers : int
            Processes that share the work; each free one gets the next item.
        ordered : bool
            Keep the order of the input; else hand on what is finished first.
        inplace : bool
            `fn` may change the arrays of its item. To return the changed array passes on the same memory. If a
            worker is killed half-way, the item is lost and the run fails.
        chunksize : int or "auto"
            Items per message. The least that any stage asks for counts, from the source on.
        errors : "raise" or "skip"
            What an exception in `fn` does: end the run, or drop the item, count it and name it in the report.

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
        )

    def filter(
        self,
        predicate: Callable[[Any], Any],
        *,
        workers: int = 1,
        ordered: bool = True,
        chunksize: Chunksize = "auto",
        errors: Errors = "raise",
        name: str | None = None,
    ) -> Stream:
        """Return the stream of the items for which ``predicate(item)`` is true; else as `map`.

        An item that is dropped before a `zip` drops its pair.
        """
        return self._then(
            Kind.FILTER, predicate, name, workers=workers, ordered=ordered, chunksize=_size(chunksize), errors=errors
        )

    def __or__(self, generator_function: Callable[[Iterator[Any]], Iterable[Any]]) -> Stream:
        """Return the stream of what ``generator_function(items)`` yields: a stateful filter, in a process of its own.

        Set up before its loop, tear down after it. Its items are numbered anew, so it cannot be zipped with a stream
        that does not go through it. If its process is killed its state is lost, and the run fails.
        """
        return self._then(Kind.PIPE, generator_function, None)

    def _then(self, kind: Kind, fn: Any, name: str | None, **options: Any) -> Stream:
        if kind is not Kind.PIPE and inspect.isgeneratorfunction(fn):
            raise ConfigError(
                f"{_name_of(fn)!r} is a generator function, which takes all items: use stream | {_name_of(fn)}"
            )
        return Stream(Node(kind, name or _name_of(fn), fn, (self._node,), where=user_line(), **options))

    def iterate(
        self,
        *,
        engine: Engine = "processes",
        progress: bool = False,
        tokens: int | None = None,
        memory_limit: int | None = None,
    ) -> Run:
        """Start a run and return it: an iterator over the items.

        Parameters
        ----------
        engine : "processes", "threads" or "serial"
            "serial" runs everything in the calling thread, one item after the other: for debugging, and the
            reference for the others.
        progress : bool
            Show a bar per stage.
        tokens : int, optional
            Messages of one source that may be in flight, at most 4096; default: 2 x workers + stages.
        memory_limit : int, optional
            Bytes of shared memory the run may hold; default: half of what is available.

        Raises
        ------
        ConfigError
            A stage's function cannot be pickled, the plan is wrong (`PlanError`), or an argument is; nothing was
            started.
        """
        return self._start(True, engine, progress, tokens, memory_limit)

    def run(
        self,
        *,
        engine: Engine = "processes",
        progress: bool = False,
        tokens: int | None = None,
        memory_limit: int | None = None,
    ) -> RunReport:
        """Run to the end, drop the output, and return the report; arguments and errors as for `iterate`.

        An exception of the user's code is raised as its own type, with a note of stage and item and the remote
        traceback.
        """
        return self._start(False, engine, progress, tokens, memory_limit).finish()

    def __iter__(self) -> Iterator[Any]:
        with self.iterate() as run:
            yield from run

    def _start(self, iterated: bool, engine: str, progress: bool, tokens: int | None, memory_limit: int | None) -> Run:
        for name, value in (("tokens", tokens), ("memory_limit", memory_limit)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name} must be an int of at least 1, not {value!r}")
        if tokens is not None and tokens > MOST_TOKENS:
            raise ConfigError(f"tokens must be at most {MOST_TOKENS}, not {tokens}")
        plan = Plan(self._node, iterated)
        _use_up([stage.node for stage in plan.stages if stage.kind is Kind.SOURCE])
        if engine == "processes":
            from pardata.engines.processes import ProcessRun

            return ProcessRun(plan, progress, tokens, memory_limit)
        if engine == "threads":
            from pardata.engines.threads import ThreadRun

            return ThreadRun(plan, progress, tokens)
        if engine == "serial":
            from pardata.engines.serial import SerialRun

            return SerialRun(plan, progress)
        raise ConfigError(f'engine must be "processes", "threads" or "serial", not {engine!r}')

    def __repr__(self) -> str:
        return f"<Stream {' <- '.join(_chain(self._node))}>"


_used_up: weakref.WeakSet[Any] = weakref.WeakSet()


def _use_up(sources: list[Node]) -> None:
    """Refuse a run over an iterator that an earlier one has read: it would be empty, or begin in the middle."""
    iterators = [node for node in sources if isinstance(node.fn, Iterator)]
    for node in iterators:
        if type(node.fn).__weakrefoffset__ and node.fn in _used_up:
            raise ConfigError(
                f"source {node.name!r} ({node.where}) is an iterator that an earlier run has read; a list, an array "
                f"or a "
                f"generator function can be run again"
            )
    _used_up.update(node.fn for node in iterators if type(node.fn).__weakrefoffset__)


def _chain(node: Node) -> list[str]:
    names = [node.name]
    while len(node.inputs) == 1:
        node = node.inputs[0]
        names.append(node.name)
    if node.inputs:
        names.append(f"({', '.join(given.name for given in node.inputs)})")
    return names


def source(items: Any, *, name: str | None = None) -> Stream:
    """Return the stream of `items`.

    Parameters
    ----------
    items : iterable, generator function or array
        An iterable or a generator object is read by a thread of the calling process; an array gives its rows. A
        generator function (without arguments) runs in a process of its own; should that be killed, the function is
        called again and what had been sent is skipped, so it must yield the same items again.

    Raises
    ------
    ConfigError
        `items` is none of these.
    """
    if inspect.isgeneratorfunction(items):
        if any(p.default is p.empty and p.kind in (0, 1, 3) for p in inspect.signature(items).parameters.values()):
            raise ConfigError(
                f"source({_name_of(items)}): a generator function is called without arguments; use functools.partial"
            )
    elif not callable(items) or hasattr(items, "__iter__"):
        try:
            iter(items)
        except TypeError:
            raise ConfigError(f"source(...): {type(items).__name__} is not iterable") from None
    elif not _is_generator_factory(items):
        raise ConfigError(f"source({_name_of(items)}): a function must be a generator function")
    return Stream(
        Node(Kind.SOURCE, name or ("source" if not callable(items) else _name_of(items)), items, where=user_line())
    )


def _is_generator_factory(items: Any) -> bool:
    """Whether calling `items` makes a generator: a partial or a method of a generator function."""
    inner = items
    while hasattr(inner, "func"):
        inner = inner.func
    return inspect.isgeneratorfunction(inner) or inspect.isgeneratorfunction(type(inner).__call__)


def zip(*streams: Stream) -> Stream:
    """Return the stream of tuples of one item of each stream, paired by item number: a fan-in.

    The streams must come from one source. If an item was dropped in one of them, its pair is dropped.
    """
    return _join(Kind.ZIP, streams)


def merge(*streams: Stream) -> Stream:
    """Return the stream of the items of all streams as they arrive; each stream's own order is kept."""
    return _join(Kind.MERGE, streams)


def _join(kind: Kind, streams: tuple[Stream, ...]) -> Stream:
    if not streams:
        raise ConfigError(f"{kind.value}() needs at least one stream")
    for stream in streams:
        if not isinstance(stream, Stream):
            raise ConfigError(f"{kind.value}() takes streams, not {type(stream).__name__}: use pardata.source(...)")
    return Stream(Node(kind, kind.value, None, tuple(stream._node for stream in streams), where=user_line()))


__all__ = ["Run", "Stream", "merge", "source", "zip"]
