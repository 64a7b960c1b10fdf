"""The ways in which the batches of an epoch are made: by a pool, by a run of a stream, or in the calling process.

map-style dataset ── keys of a batch ──> pool: `Fetch` ─────────────┐
dataset with `__iter__` ──> a source that makes batches: `read` ────┼──> `PackedBatch` ──> the loop
stream ──> .batch(size) ──> a stage that assembles: `Making` ───────┘
"""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from pardata.errors import ConfigError
from pardata.feeding.collate import PackedBatch
from pardata.feeding.fetching import NAME, BatchTask, Fetch, Making, read
from pardata.feeding.sampling import Sampling, batches_in, is_read_once
from pardata.feeding.seeds import RUN, number_of
from pardata.feeding.surroundings import Generators
from pardata.memory.foreign import rows_of_table
from pardata.pipeline.plan.numbers import is_count
from pardata.pipeline.run import Engine, Run
from pardata.pipeline.sources import source
from pardata.pipeline.stream import Stream
from pardata.pool.pool import WorkerPool

_AHEAD: Final = 2  # batches per worker that are made before the loop asks for them, as DataLoader has it


class Route(Protocol):
    """Makes batches."""

    def batches(self, seed: int, epoch: int, skip: int) -> Iterator[Any]:
        """Return the batches of an epoch but for the first `skip` ones; the work begins at once.

        The iterator has a method `close`, which ends what is at work for it.
        """

    def close(self) -> None:
        """End the workers, if there are any."""

    def __len__(self) -> int:
        """The number of batches in an epoch. Raises TypeError if nobody knows it."""


class PoolRoute:
    """A dataset that has a `__getitem__`: each task of a pool is a batch. The pool stays for the next epochs."""

    def __init__(self, dataset: Any, making: Making, sampling: Sampling, workers: int | None) -> None:
        self._fetch = Fetch(dataset, making, workers != 0)
        self._sampling = sampling
        self._workers = workers
        self._pool: WorkerPool | None = None

    def __len__(self) -> int:
        return len(self._sampling)

    def batches(self, seed: int, epoch: int, skip: int) -> Iterator[Any]:
        tasks = self._tasks(seed, epoch, skip)
        if self._workers == 0:
            return _made_here(self._fetch, tasks)
        if self._pool is None or not self._pool.is_open:
            self._pool = WorkerPool(self._workers, name=NAME)
        window = _AHEAD * self._pool.workers
        return self._pool.results(self._fetch, tasks, chunksize=1, window=window, lazy=True)

    def _tasks(self, seed: int, epoch: int, skip: int) -> Iterator[BatchTask]:
        position = 0
        for number, keys in enumerate(self._sampling.lists(seed, epoch)):
            if number >= skip:
                yield BatchTask(seed, epoch, number, position, keys)
            position += len(keys)

    def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)


class ReaderRoute:
    """A dataset that has only an `__iter__`: one process reads it and makes the batches, a new one for each epoch."""

    def __init__(self, dataset: Any, making: Making, drop_last: bool, workers: int | None) -> None:
        self._dataset, self._making, self._drop_last = dataset, making, drop_last
        self._workers = workers

    def __len__(self) -> int:
        return batches_in(len(self._dataset), self._making.size or 1, self._drop_last)

    def batches(self, seed: int, epoch: int, skip: int) -> Iterator[Any]:
        reading = partial(read, self._dataset, self._making, self._drop_last, seed, epoch, skip, self._workers != 0)
        run = source(reading, name=NAME).iterate(engine=_engine(self._workers), seed=number_of(seed, RUN, epoch))
        return _read_here(run) if self._workers == 0 else run

    def close(self) -> None:
        """There is nothing between two epochs."""


class StreamRoute:
    """A stream: its items are put together by a stage behind it. Each epoch is a run."""

    def __init__(self, stream: Stream, making: Making, drop_last: bool, workers: int | None) -> None:
        self._stream, self._making, self._drop_last = stream, making, drop_last
        self._workers = workers

    def __len__(self) -> int:
        raise TypeError("a stream does not know how many items it has")

    def batches(self, seed: int, epoch: int, skip: int) -> Iterator[Any]:
        making, items = self._making, self._stream
        fn: Callable[[Any], PackedBatch] = making.of_one
        if making.size is not None:
            items, fn = items.batch(making.size, drop_last=self._drop_last), making.of_items
        if skip:
            items = items.skip(skip)
        batches = items.map(fn, workers=self._workers or 1, name=NAME)
        return batches.iterate(engine=_engine(self._workers), seed=number_of(seed, RUN, epoch))

    def close(self) -> None:
        """There is nothing between two epochs."""


def _engine(workers: int | None) -> Engine:
    return "serial" if workers == 0 else "processes"


def _made_here(fetch: Fetch, tasks: Iterator[BatchTask]) -> Iterator[Any]:
    """Yield batches that are made in this process, whose global generators go on as if nothing was made.

    A sampler does draw from them, as it does where workers make the batches.
    """
    generators = Generators()
    for task in tasks:
        with generators.in_use():
            made = fetch(task)
        yield made
        del made


def _read_here(run: Run) -> Iterator[Any]:
    """Yield the batches of a run in this process, whose global generators go on as if nothing was read."""
    generators, end = Generators(), object()
    with closing(run):
        while True:
            with generators.in_use():
                made = next(run, end)
            if made is end:
                return
            yield made
            del made


def route_for(dataset: Any, making: Making, sampling: Sampling, workers: int | None) -> Route:
    """Return the way for a dataset or stream. Raises ConfigError."""
    if workers is not None and not is_count(workers, 0):
        raise ConfigError(f"workers must be an int of at least 0 (0: no processes), not {workers!r}")
    if (rows := rows_of_table(dataset)) is not None:
        raise ConfigError(f"a {type(dataset).__name__} is indexed by its columns, not by its rows; use {rows}")
    if isinstance(dataset, (str, bytes, os.PathLike)):
        raise ConfigError(
            f"a dataset is not a path, {dataset!r}: give an object whose __getitem__ reads an item, or a stream, as "
            "pardata.source(path) for an array in a file"
        )
    is_stream = isinstance(dataset, Stream)
    if not is_stream and has_keys(dataset):
        return PoolRoute(dataset, making, _with_count(sampling, dataset), workers)
    if not is_stream and not hasattr(dataset, "__iter__"):
        raise ConfigError(
            f"batches are made of a stream, of a dataset with __getitem__ and __len__, or of one with __iter__, not of "
            f"{type(dataset).__name__}{' (of a generator function pardata.source makes a stream)' * callable(dataset)}"
        )
    if sampling.shuffle or sampling.sampler is not None or sampling.batch_sampler is not None:
        raise ConfigError(
            "the items of a stream, and of a dataset without __getitem__, come in its own order: leave out shuffle, "
            "sampler and batch_sampler"
        )
    if is_stream:
        return StreamRoute(dataset, making, sampling.drop_last, workers)
    if is_read_once(dataset) and workers != 0:
        raise ConfigError(
            f"a {type(dataset).__name__} can be read only once, and not by another process: give its generator "
            f"function to pardata.source, and the stream here"
        )
    return ReaderRoute(dataset, making, sampling.drop_last, workers)


def has_keys(dataset: Any) -> bool:
    """Return whether items are asked for by key: torch's `IterableDataset` has a `__getitem__` that only raises."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(dataset, torch.utils.data.IterableDataset):
        return False
    return hasattr(dataset, "__getitem__")


def _with_count(sampling: Sampling, dataset: Any) -> Sampling:
    if sampling.sampler is not None or sampling.batch_sampler is not None:
        return sampling
    if isinstance(dataset, Mapping) and dataset and 0 not in dataset:
        raise ConfigError(
            f"a dict is asked for its items 0 to {len(dataset) - 1}, and has {reprlib.repr(list(dataset))}: of arrays "
            "that belong together a dataset is list(zip(images, labels)); other keys come from sampler="
        )
    shape = getattr(dataset, "shape", None)  # arrays in files have a shape and no length
    try:
        return replace(sampling, count=shape[0] if isinstance(shape, tuple) and shape else len(dataset))
    except TypeError as error:
        raise ConfigError(f"a dataset without a length needs a sampler: {error}") from error
