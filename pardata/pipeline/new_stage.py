"""Makes nodes from the arguments of a stream's methods; it checks what `plan.node` cannot see."""

from __future__ import annotations

import inspect
import os
import sys
from collections import deque
from typing import Any, Final, Literal

from pardata.data.registry import file_array, new_output, output_endings
from pardata.errors import ConfigError
from pardata.pipeline.arguments import Following, Unpacking
from pardata.pipeline.file_sink import FileSink
from pardata.pipeline.lost_writes import only_filled
from pardata.pipeline.npy_writer import NpyWriter
from pardata.pipeline.plan.node import (
    ArrayUse,
    Kind,
    Node,
    Workplace,
    has_calls,
    is_coroutine_function,
    name_of,
    no_function,
    takes,
    user_line,
)
from pardata.pipeline.plan.numbers import is_count
from pardata.runtime.faults import describe_item

WorkerKind = Literal["process", "thread"]
Machine = Literal["nodes", "home"]
StreamChunksize = int | Literal["auto"]

CONCURRENCY: Final = 16  # calls of a coroutine function, unless the user says how many: as servers bear from one client


def new_stage(given: Node, kind: Kind, fn: Any, name: str | None, **options: Any) -> Node:
    """Return a stage behind `given`. Raises ConfigError for a function of the wrong kind, and behind a sink."""
    inner = fn.func if isinstance(fn, Following) else fn
    inner = inner.func if isinstance(inner, Unpacking) else inner
    options |= _checked_concurrency(kind, inner, options.pop("concurrency", None))
    if kind is not Kind.GENERATOR and inspect.isgeneratorfunction(inner):
        raise ConfigError(f"{name_of(fn)!r} is a generator function, which takes all items: use stream | {name_of(fn)}")
    if given.kind is Kind.SINK or isinstance(given.fn, NpyWriter | FileSink):
        raise ConfigError(f"nothing comes out of {given.name!r} ({given.where}): what `to` returns can be run")
    return Node(kind, name or name_of(fn), fn, (given,), where=user_line(), **options)


def _checked_concurrency(kind: Kind, fn: Any, wanted: int | None) -> dict[str, int]:
    """Return the option `concurrency` of a node if it has one; raises ConfigError where none can be."""
    if inspect.isasyncgenfunction(fn):
        raise ConfigError(
            f"{name_of(fn)!r} is an asynchronous generator function, which can be a source, but no stage: a filter of "
            f"all items is a generator function, and a coroutine function is a stage for map, filter and to"
        )
    if not is_coroutine_function(fn):
        for name in ("open", "close"):
            if inspect.iscoroutinefunction(getattr(fn, name, None)) and (has_calls(fn) or not isinstance(fn, type)):
                raise ConfigError(
                    f"{name_of(fn)!r}: its {name} is a coroutine function, which nobody awaits beside a plain "
                    f"__call__: make it a plain method, or __call__ a coroutine function (`async def`)"
                )
        if wanted is not None:
            raise ConfigError(
                f"concurrency= goes with a coroutine function (`async def`), and {name_of(fn)!r} is none: use workers="
            )
        return {}
    if kind not in (Kind.MAP, Kind.FILTER, Kind.SINK):
        raise ConfigError(_not_awaited(fn))
    if wanted is not None and not is_count(wanted, 1):
        raise ConfigError(f"{name_of(fn)!r}: concurrency must be an int of at least 1, not {wanted!r}")
    return {"concurrency": CONCURRENCY if wanted is None else wanted}


def _not_awaited(fn: Any) -> str:
    return (
        f"{name_of(fn)!r} is a coroutine function: map, filter and to await their calls; here a plain function is "
        f"needed, which may take what comes out of such a stage"
    )


def new_branch(node: Node, index: int, name: str) -> Node:
    """Return one of several outputs of a stage."""
    return Node(Kind.BRANCH, name, None, (node,), branch=index, where=node.where)


def new_sink(
    given: Node,
    sink: Any,
    name: str | None,
    thread: bool,
    concurrency: int | None,
    key: str | None,
    compression: Any,
) -> Node:
    """Return the stage that writes to a list, a file or a function (see `Stream.to`)."""
    if concurrency is not None and not callable(sink):
        raise ConfigError(f"to({sink!r}): concurrency= goes with a coroutine function (`async def`)")
    where: Workplace = "thread" if thread else ""
    written = _file_sink(sink, key, compression)
    if written is not None:
        return new_stage(given, Kind.GENERATOR, written, name or written.name, workplace="thread")
    if isinstance(sink, list):
        return new_stage(given, Kind.SINK, sink.append, name or "list", workplace="thread")
    if isinstance(getattr(sink, "__self__", None), list | set | dict | deque) and not thread:
        raise ConfigError(
            f"to({sink.__self__.__class__.__name__}.{sink.__name__}): a process would fill a copy of it; give a "
            f'list itself, or say kind="thread"'
        )
    filled = None if thread else only_filled(sink)
    if filled is not None:
        raise ConfigError(
            f"to({name_of(sink)}): it fills {filled[0]!r}, a {type(filled[1]).__name__} of this process, and a process "
            f'of its own would fill a copy of it; give a list itself, or say kind="thread"'
        )
    if isinstance(sink, str | os.PathLike):
        path = os.path.abspath(os.fspath(sink))
        writer = _npy_writer(path, sink)
        return new_stage(given, Kind.GENERATOR, writer, name or os.path.basename(path), workplace=where)
    if not callable(sink):
        raise ConfigError(
            f"to({describe_item(sink)}): a sink is a list, the path of a .npy file, or a function, as found.add or "
            f'file.write with kind="thread"'
        )
    return new_stage(given, Kind.SINK, sink, name, workplace=where, concurrency=concurrency)


def _npy_writer(path: str, sink: object) -> NpyWriter:
    if not path.endswith(".npy"):
        raise ConfigError(
            f"to({str(sink)!r}): a path must be that of a {output_endings(tables=True)} or .npy file; for others "
            f"give a function"
        )
    writer = NpyWriter(path)
    writer.check_free()
    return writer


def _file_sink(sink: Any, key: str | None, compression: Any) -> FileSink | None:
    """Return the sink for an array in a file, or for the path of a new one that an adapter writes."""
    if isinstance(sink, str | os.PathLike):
        path = os.fspath(sink)
        if new_output(path, key, compression) is not None:  # it refuses a URL, which `abspath` would make a folder of
            return FileSink(os.path.abspath(path), key, compression)
    if compression is not None:
        raise ConfigError(
            f"to({describe_item(sink)}): compression={compression!r} goes with a new .h5, .tif or .parquet file"
        )
    if key is not None:
        raise ConfigError(f"to({describe_item(sink)}, key={key!r}): key= names the array in a new .h5 file")
    target = file_array(sink)
    return None if target is None else FileSink(target)


def checked_size(chunksize: StreamChunksize) -> int | None:
    """Return a chunksize, None for "auto"."""
    return None if isinstance(chunksize, str) and chunksize == "auto" else chunksize


def array_use(inplace: bool, writable: bool) -> ArrayUse:
    """Return in which way a stage changes its items."""
    if not isinstance(writable, bool):
        raise ConfigError(f"({user_line()}): writable must be True or False, not {writable!r}")
    if inplace and writable:
        raise ConfigError(f"({user_line()}): inplace=True and writable=True: one of them")
    return "inplace" if inplace else "copies" if writable else ""


def is_thread(kind: str) -> bool:
    """Return whether the workers of a stage are to be threads."""
    if kind not in ("process", "thread"):
        raise ConfigError(f'({user_line()}): kind must be "process" or "thread", not {kind!r}')
    return kind == "thread"


def workplace(kind: str, on: str) -> Workplace:
    """Return where the workers of a stage are."""
    if on not in ("nodes", "home"):
        raise ConfigError(f'({user_line()}): on must be "nodes" or "home", not {on!r}')
    if on == "home":
        return "home thread" if is_thread(kind) else "home"
    return "thread" if is_thread(kind) else ""


def checked_count(method: str, name: str, value: Any, least: int | None = 1) -> int:
    """Return an argument that must be an int of at least `least`; None: of any size."""
    if not is_count(value, -sys.maxsize if least is None else least):
        limit = "" if least is None else f" of at least {least}"
        raise ConfigError(f"{method}: {name} must be an int{limit}, not {value!r}")
    return int(value)


def checked_function(fn: Any) -> Any:
    """Return an argument that must be callable."""
    if not callable(fn):
        raise ConfigError(f"({user_line()}): {no_function(fn)}")
    return fn


def checked_fold(fn: Any) -> Any:
    """Return the function of `Stream.reduce`, which is called with two arguments."""
    if not takes(checked_function(fn), 2):
        raise ConfigError(
            f"reduce({name_of(fn)}): it is called with the value so far and an item, and does not take two arguments"
        )
    return fn


def plain_function(fn: Any) -> Any:
    """Return an argument that must be callable, and no coroutine function."""
    if is_coroutine_function(checked_function(fn)):
        raise ConfigError(_not_awaited(fn))
    return fn
