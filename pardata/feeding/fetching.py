"""The calls of a loader's workers: items of a dataset become a batch."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

from pardata.feeding.collate import Assembly, PackedBatch, pack
from pardata.feeding.sampling import in_lists, not_empty
from pardata.feeding.seeds import BATCH
from pardata.feeding.surroundings import ItemContext, item_context, seed_generators, set_worker_info

NAME: Final = "loader"  # of the workers' calls and stages, for messages and printed lines


class BatchTask(NamedTuple):
    """One batch to be made.

    Parameters
    ----------
    number : int
        Of the batch in its epoch.
    position : int
        Of its first item in its epoch.
    keys : list
        Of the items in the dataset.
    """

    seed: int
    epoch: int
    number: int
    position: int
    keys: list[Any]

    def __repr__(self) -> str:
        """Return the batch in words, for messages."""
        return f"batch {self.number} of epoch {self.epoch}, of the keys {reprlib.repr(self.keys)}"


class Making:
    """The way in which items become batches.

    Parameters
    ----------
    size : int, optional
        Items of a batch; None: each item comes by itself.
    collate : callable, optional
        Makes a batch of a list of items, or of a single one; default: `Assembly`.
    tensors : bool
        What arrives are tensors of torch; else arrays.
    """

    def __init__(self, size: int | None, collate: Callable[[Any], Any] | None, tensors: bool) -> None:
        self.size = size
        self.collate = collate
        self._tensors = tensors

    def of_items(self, items: list[Any]) -> PackedBatch:
        """Return the batch of some items, at least one."""
        if self.size is None:
            return self.of_one(items[0])
        if self.collate is not None:
            return pack(self.collate(items), None)
        assembly = self.begin(len(items))
        for item in items:
            assembly.add(item)
        return assembly.finish()

    def of_one(self, item: Any) -> PackedBatch:
        """Return an item that comes by itself."""
        return pack(item, self._tensors) if self.collate is None else pack(self.collate(item), None)

    def begin(self, size: int) -> Assembly:
        """Return the beginning of a batch of up to `size` items."""
        return Assembly(size, self._tensors)


class Fetch:
    """Makes batches of a dataset that has a `__getitem__`. Each worker process (or the calling one) has one."""

    def __init__(self, dataset: Any, making: Making, in_worker: bool) -> None:
        self.__name__ = NAME  # in messages
        self.dataset = dataset
        self._making = making
        self._in_worker = in_worker

    def __call__(self, task: BatchTask) -> PackedBatch:
        number = seed_generators(task.seed, BATCH, task.epoch, task.number)
        with item_context(task.seed, task.epoch, self._in_worker) as context:
            if self._in_worker:
                set_worker_info(context.index, context.workers, number, self.dataset)
            try:
                return self._batch(task, context)
            except StopIteration as error:  # it would end the loop
                raise RuntimeError("the dataset raised StopIteration") from error

    def _batch(self, task: BatchTask, context: ItemContext) -> PackedBatch:
        making = self._making
        get_many = getattr(self.dataset, "__getitems__", None) if making.size is not None else None
        if get_many is not None:
            context.position = task.position
            try:
                return making.of_items(get_many(task.keys))
            except Exception as error:
                _name(error, f"items {reprlib.repr(task.keys)} of the dataset", task)
                raise
        if making.collate is not None or making.size is None:
            items: list[Any] = []
            self._get(task, context, items.append)
            return making.of_items(items)
        assembly = making.begin(len(task.keys))
        self._get(task, context, assembly.add)
        return assembly.finish()

    def _get(self, task: BatchTask, context: ItemContext, use: Callable[[Any], object]) -> None:
        """Call `use` with each item of a batch."""
        dataset = self.dataset
        for position, key in enumerate(task.keys, task.position):
            context.position = position
            try:
                use(dataset[key])
            except Exception as error:
                _name(error, f"item {key!r} of the dataset", task)
                raise


def _name(error: Exception, what: str, task: BatchTask) -> None:
    error.add_note(f"{what}, for batch {task.number} of epoch {task.epoch}")


def read(
    dataset: Any, making: Making, drop_last: bool, seed: int, epoch: int, skip: int, in_worker: bool
) -> Generator[PackedBatch, None, None]:
    """Yield the batches of one pass over a dataset that has an `__iter__`, without the first `skip` ones."""
    number = seed_generators(seed, BATCH, epoch)
    if in_worker:
        set_worker_info(0, 1, number, dataset)
    items = not_empty(dataset, "dataset")
    size = making.size or 1
    for _ in range(skip * size):
        if next(items, items) is items:
            return
    if making.size is None:
        yield from (making.of_one(item) for item in items)
    elif making.collate is not None:
        yield from (making.of_items(some) for some in in_lists(items, size) if len(some) == size or not drop_last)
    else:
        yield from _assembled(items, making, size, drop_last)


def _assembled(items: Iterator[Any], making: Making, size: int, drop_last: bool) -> Iterator[PackedBatch]:
    """Yield batches into which each item is written as it comes: a dataset may fill one buffer again and again."""
    while True:
        assembly = making.begin(size)
        for item in islice(items, size):
            assembly.add(item)
        if not assembly.rows or (drop_last and assembly.rows < size):
            return
        yield assembly.finish()
