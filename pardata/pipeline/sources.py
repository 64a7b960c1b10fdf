"""Makes sources: of iterables, generator functions, arrays and files."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from pardata.data.file_array import FileArray
from pardata.data.file_items import FileItems
from pardata.data.file_table import FileTable
from pardata.data.registry import in_files, labels_of
from pardata.errors import ConfigError
from pardata.memory.disk import home_hint
from pardata.memory.foreign import rows_of_table
from pardata.memory.mapped import read_only
from pardata.modules.function_name import innermost
from pardata.pipeline.file_sources import PartSize, array_source, opened, parts_of_array
from pardata.pipeline.plan.node import Kind, Node, name_of, user_line
from pardata.pipeline.programs.event_loop import EventLoop
from pardata.pipeline.queue_items import QueueItems, is_queue
from pardata.pipeline.source_items import RowsOfFile
from pardata.pipeline.stream import Stream
from pardata.pipeline.table_sources import items_source, table_source


def npy_source(path: str | os.PathLike[str]) -> RowsOfFile:
    """Return a generator function over the rows of a file. Raises ConfigError if it is no array that has rows."""
    name = os.path.abspath(os.fspath(path))
    if not name.endswith(".npy"):
        raise ConfigError(
            f"source({str(path)!r}): a single path must be that of a file that pardata.open opens; for the lines "
            "of a text give open(path), for paths a list of them"
            + " (there is no file or folder of that name)"
            * (not os.path.exists(name))
        )
    try:
        shape = np.load(name, mmap_mode="r").shape
    except (OSError, ValueError, EOFError) as error:  # EOFError: it is empty
        hint = f": for several files give their paths, glob.glob({str(path)!r})" if "*" in name else home_hint(name)
        raise ConfigError(f"source({str(path)!r}): {error}{hint}") from error
    if not shape:
        raise ConfigError(f"source({str(path)!r}): the array in it is a single number, which has no rows")
    return RowsOfFile(name, shape[0])


def iterate_async(make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
    """Yield the items of an asynchronous generator function, in an event loop of its own."""
    with EventLoop() as loop:
        items = make()
        try:
            while True:
                try:
                    item = loop.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
                del item
        finally:
            if isinstance(items, AsyncGenerator):
                loop.run(_close(items))


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


async def _close(items: AsyncGenerator[Any, Any]) -> None:
    await items.aclose()


def async_source(make: Callable[[], AsyncIterator[Any]]) -> Callable[[], Iterator[Any]]:
    """Return a generator function for an asynchronous one."""
    return partial(iterate_async, make)


def source(
    items: Any,
    *,
    name: str | None = None,
    until: Any = None,
    native: bool = False,
    by: PartSize = None,
    axis: int = 0,
    workers: int = 1,
) -> Stream:
    """Return the stream of `items`, numbered from 0 on.

    Parameters
    ----------
    items : iterable, generator function, array of shape (n, ...), table, queue, or path of a file that `open` opens
        An iterable or a generator object is read by a thread of the calling process; an array gives its n rows. A
        generator function (without arguments) runs in a process of its own; should that be killed, the function is
        called again and the items that had been sent are skipped, so it must yield the same items again. An
        asynchronous generator function runs there in an event loop. A file is mapped, and its rows are read as they are
        needed. The rows of a `numpy.memmap` are opened in the stages' processes by the name of its file, for reading. A
        table in files (a `pyarrow.dataset.Dataset`) gives its groups of rows, each a table. A
        queue (`queue.Queue`, `multiprocessing.Queue`, `pardata.Queue` and their like) is read by a thread of the
        calling process. It ends at the first item that is `until`, and when nobody is left who could put, or it is shut
        down; if it was in a manager that has died, `WorkerLostError` is raised. A run that is left early may have taken
        items that it does not hand out.
    name : str, optional
        The stage's name in reports, errors and drawings; default: that of the function or file, else "source".
    until : object
        The last item of a queue, which is not handed out. None, texts, numbers and members of enums are recognized by
        what they are, other objects by identity.
    native : bool
        Convert arrays of another byte order, at any depth of an item, to the machine's: for code behind it that needs
        that order. They are copies then, those of a `numpy.memmap` too.
    by : "chunk" or int, optional
        Of an array, also one in a file: items are its chunks in C order, or blocks of so many entries along `axis` (the
        last may be shorter); default: single entries, without that axis. Of a table: so many rows of each of its groups
        of rows; default: these.
    axis : int
        Of an array: along which it is taken apart.
    workers : int
        Of an array or a table in files, as a `zarr.Array`: processes that read and decompress it, each whole chunks.

    Raises
    ------
    ConfigError
        `items` is none of these, or a file that cannot be read as an array, or a table (of pandas,
        polars, pyarrow or xarray: it says how to get its rows); or `until` is given without a queue, or
        would not be recognized. Nothing was started.

    Examples
    --------
    >>> import numpy as np, pardata
    >>> [float(row.sum()) for row in pardata.source(np.ones((3, 4)))]
    [4.0, 4.0, 4.0]
    """
    if is_queue(items):
        items = QueueItems(items, until)
    elif until is not None:
        raise ConfigError(f"source({type(items).__name__}, until=...): until= goes with a queue")
    items = opened(items)
    found = in_files(items)
    if isinstance(found, FileArray):
        return array_source(found, by, axis, workers, name, native, labels_of(items))
    if isinstance(found, FileTable):
        return table_source(found, by, axis, workers, name)
    if isinstance(found, FileItems):
        return items_source(found, by, axis, workers, name)
    if workers != 1:
        raise ConfigError(f"source({type(items).__name__}, workers=...): workers read arrays in files")
    given_name, items = _in_this_process(items, by, axis)
    _check_items(items)
    name = name or given_name or ("source" if not callable(items) else name_of(items))
    return Stream(Node(Kind.SOURCE, name, items, arrays="native" if native else "", where=user_line()))


def _in_this_process(items: Any, by: PartSize, axis: int) -> tuple[str | None, Any]:
    """Return what a source reads in place of `items`, and its name if these have one; what nothing fits stays."""
    if isinstance(items, np.memmap):
        items = read_only(items)
    if by is not None or axis != 0:
        return None, parts_of_array(items, by, axis)
    if isinstance(items, str | os.PathLike):
        return os.path.basename(os.fspath(items)), npy_source(items)
    if inspect.isasyncgenfunction(items):
        return name_of(items), async_source(items)
    if hasattr(items, "__aiter__"):
        return "source", iterate_async(lambda: aiter(items))
    return None, items


def _check_items(items: Any) -> None:
    """Refuse what is neither an iterable nor a function that makes one."""
    if inspect.isgeneratorfunction(items):
        if any(p.default is p.empty and p.kind in (0, 1, 3) for p in inspect.signature(items).parameters.values()):
            raise ConfigError(
                f"source({name_of(items)}): a generator function is called without arguments; use functools.partial"
            )
    elif (rows := rows_of_table(items)) is not None:
        kind = type(items).__name__
        raise ConfigError(f"source(...): a loop over a {kind} gives its columns, not its rows; use {rows}")
    elif not callable(items) or hasattr(items, "__iter__"):
        try:
            iter(items)
        except TypeError:
            raise ConfigError(f"source(...): {type(items).__name__} is not iterable{_hint(items)}") from None
    elif not _is_generator_factory(items):
        raise ConfigError(
            f"source({name_of(items)}): a function must be a generator function, which yields the items; give what "
            f"another one returns, {name_of(items)}(...)"
        )


def _hint(items: Any) -> str:
    """Return what to give in the place of an object that is not iterable."""
    if hasattr(items, "get"):
        return ": for a queue without timeouts take iter(queue.get, None)"
    if isinstance(items, int):
        return f": for so many numbers give range({items})"
    return ": give a list, an array, a generator function or the path of a .npy file"


def _is_generator_factory(items: Any) -> bool:
    """Return whether calling `items` makes a generator: a partial or a method of a generator function."""
    inner = innermost(items)
    return inspect.isgeneratorfunction(inner) or inspect.isgeneratorfunction(type(inner).__call__)
