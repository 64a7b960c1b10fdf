"""What a source may be made of, as something that yields items."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from pardata.errors import ConfigError


def rows_of_file(path: str) -> Iterator[Any]:
    """Yield the rows of a ``.npy`` file; only those that are read are loaded."""
    yield from np.load(path, mmap_mode="r").view(np.ndarray)


def npy_source(path: str | os.PathLike[str]) -> Callable[[], Iterator[Any]]:
    """Return a generator function over the rows of a file. Raises ConfigError if it is no array that has rows."""
    name = os.path.abspath(os.fspath(path))
    if not name.endswith(".npy"):
        raise ConfigError(f"source({str(path)!r}): a single path must be that of a .npy file; for others give a list")
    try:
        dimensions = np.load(name, mmap_mode="r").ndim
    except (OSError, ValueError) as error:
        raise ConfigError(f"source({str(path)!r}): {error}") from error
    if not dimensions:
        raise ConfigError(f"source({str(path)!r}): the array in it is a single number, which has no rows")
    return partial(rows_of_file, name)


def iterate_async(make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
    """Yield what an asynchronous generator function does, in an event loop of its own."""
    loop = asyncio.new_event_loop()
    items = make()
    try:
        while True:
            try:
                item = loop.run_until_complete(anext(items))
            except StopAsyncIteration:
                return
            yield item
            del item
    finally:
        if hasattr(items, "aclose"):
            loop.run_until_complete(items.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def async_source(make: Callable[[], AsyncIterator[Any]]) -> Callable[[], Iterator[Any]]:
    """Return a generator function for an asynchronous one."""
    return partial(iterate_async, make)
