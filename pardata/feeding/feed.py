"""Batches for a training loop: `pardata.batches`, and what `pardata.torch.Loader` is made of."""

from __future__ import annotations

import contextlib
import reprlib
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, ClassVar, Final, Self

from pardata.errors import CapacityError, ConfigError, WorkerLostError
from pardata.feeding.collate import PackedBatch, check_collate
from pardata.feeding.fetching import Making
from pardata.feeding.routes import route_for
from pardata.feeding.sampling import Sampling, check_sampling
from pardata.feeding.seeds import new_seed
from pardata.feeding.tensors import send_tensors_as_arrays, tensor_of
from pardata.feeding.trees import Leaf, with_leaves
from pardata.pipeline.plan.numbers import is_count
from pardata.runtime.option_names import OF_LOADERS, tells_options

_CAPACITY: Final = (
    "a training loop has no memory_limit= or chunksize=: a smaller batch_size=, or fewer workers=, needs less memory. "
    "Batches that the loop keeps hold theirs: copy what is kept"
)


class _EpochLoop:
    """A loop over an epoch. Only its iterator holds it, so that what works for it ends with that."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.is_closed = False

    def close(self) -> None:
        """Have it end; the processes that work for it alone end now."""
        self.is_closed = True
        with contextlib.suppress(ValueError):  # of workers=0: a batch is being made, by the thread that loops
            self.batches.close()


class Feed:
    """The batches of a dataset or stream; a loop over it is an epoch. `pardata.batches` makes one.

    Attributes
    ----------
    dataset : object
        The dataset or stream.
    seed : int
        The seed of the order and of all random numbers.
    epoch : int
        The number of the epoch that is at work, or that comes next.

    Examples
    --------
    >>> feed = pardata.batches([1, 2, 3], batch_size=2, workers=0)
    >>> [batch.tolist() for batch in feed], feed.epoch, len(feed)
    ([[1, 2], [3]], 1, 2)
    """

    _tensors: ClassVar[bool] = False

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        *,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Iterable[Any]] | None = None,
        workers: int | None = None,
        collate: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        seed: int | None = None,
    ) -> None:
        if "torch" in sys.modules:
            send_tensors_as_arrays()
        check_collate(collate)
        check_sampling(batch_size, shuffle, drop_last, sampler, batch_sampler)
        batch_size = None if batch_size is None else int(batch_size)  # NumPy's integers are no plain data
        self.dataset = dataset
        self.seed = self._new_seed() if seed is None else _checked_seed(seed)
        self.epoch = 0
        self._given = 0  # batches of this epoch that the loop has had
        self._is_begun = False  # whether a loop over this epoch was begun
        self._loop: weakref.ref[_EpochLoop] | None = None  # the last one that was begun: its place counts
        self._open: weakref.WeakSet[_EpochLoop] = weakref.WeakSet()
        sampling = Sampling(None, batch_size, shuffle, drop_last, sampler, batch_sampler)
        self._route = route_for(dataset, Making(batch_size, collate, self._tensors), sampling, workers)
        self._options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}

    def __len__(self) -> int:
        """The number of batches in an epoch.

        Raises
        ------
        TypeError
            Nobody knows it: of a stream, of a dataset or sampler without a length.
        """
        return len(self._route)

    def __iter__(self) -> Iterator[Any]:
        """Begin an epoch: the workers are at work when this returns. Leaving the loop ends what they do for it."""
        if self._is_begun:  # an epoch that was left early is over
            self.epoch += 1
            self._given = 0
        self._is_begun = True
        loop = _EpochLoop(self._route.batches(self.seed, self.epoch, self._given))
        self._loop = weakref.ref(loop)
        self._open.add(loop)
        return self._loop_over(loop)

    def _is_last(self, loop: _EpochLoop) -> bool:
        return self._loop is not None and self._loop() is loop

    def _loop_over(self, loop: _EpochLoop) -> Iterator[Any]:
        try:
            with closing(loop.batches):
                for batch in self._arriving(map(self._opened, loop.batches)):
                    if loop.is_closed:
                        return
                    if self._is_last(loop):
                        self._given += 1
                    yield batch
                    del batch  # its memory is free for the next one if the loop does not keep it
                    if loop.is_closed:
                        return
        except CapacityError as error:
            error.add_note(_CAPACITY)
            raise
        except WorkerLostError:
            if not loop.is_closed:
                raise
        finally:
            self._open.discard(loop)
        if self._is_last(loop) and not loop.is_closed:
            self.epoch += 1
            self._given = 0
            self._is_begun = False

    def _opened(self, packed: PackedBatch) -> Any:
        """Return the batch as the loop gets it."""
        tree, arrays, is_assembled = packed
        if is_assembled:
            for array in arrays:
                array.setflags(write=True)  # they came read-only to be sent in place; nobody else has them

        def arrived(leaf: Any) -> Any:
            return self._arrived(arrays[leaf.number], leaf.tensor) if type(leaf) is Leaf else leaf

        return with_leaves(arrived, tree)

    def _arrived(self, array: Any, tensor: str) -> Any:
        """Return an array of a batch as the loop gets it."""
        return tensor_of(array, tensor) if tensor else array  # of `pardata.batches`: a user's function has returned one

    def _arriving(self, batches: Iterator[Any]) -> Iterator[Any]:
        """Return the batches as they are handed out."""
        return batches

    def _new_seed(self) -> int:
        return new_seed()

    def state_dict(self) -> dict[str, Any]:
        """Return the place of the loop: seed, epoch, the batches of this epoch that were handed out, and the options.

        It is plain data, for a checkpoint.
        """
        return {"seed": self.seed, "epoch": self.epoch, "batches": self._given, **self._options}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next loop go on where `state` was taken: the rest of its epoch, then the next ones.

        A dataset is not asked for the items before that place. A sampler is asked for their keys again: it must give
        the same ones, as those of an epoch do that its `set_epoch` was told. A stream runs through them, and a dataset
        without a `__getitem__` is read through.

        Raises
        ------
        ConfigError
            `state` is none, or that of a loop with another `batch_size`, `shuffle` or `drop_last`; nothing has changed.
        """
        if not isinstance(state, dict) or not state.keys() >= {"seed", "epoch", "batches"}:
            raise ConfigError(f"this is no state of a loop, which its state_dict() returns: {reprlib.repr(state)}")
        other = [f"{name}={state.get(name)!r}" for name, value in self._options.items() if state.get(name) != value]
        if other:
            raise ConfigError(f"the state is that of a loop with {', '.join(other)}: its place means nothing here")
        self.seed, self.epoch, self._given = state["seed"], state["epoch"], state["batches"]
        self._is_begun, self._loop = False, None

    def close(self) -> None:
        """End the workers, which otherwise stay for the next epoch until nobody holds this any more.

        A loop that is at work, here or in another thread, gets no more batches: its epoch was left early.
        """
        for loop in list(self._open):
            loop.close()
        self._route.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        size = self._options["batch_size"]
        return f"<{type(self).__name__} of {type(self.dataset).__name__}, batch_size={size}, epoch {self.epoch}>"


def _checked_seed(seed: int) -> int:
    if not is_count(seed, 0):
        raise ConfigError(f"seed must be an int of at least 0, not {seed!r}")
    return int(seed)


@tells_options(OF_LOADERS)
def batches(
    dataset: Any,
    batch_size: int | None = 1,
    *,
    shuffle: bool = False,
    sampler: Iterable[Any] | None = None,
    batch_sampler: Iterable[Iterable[Any]] | None = None,
    workers: int | None = None,
    collate: Callable[[Any], Any] | None = None,
    drop_last: bool = False,
    seed: int | None = None,
) -> Feed:
    """Return the batches of a dataset or stream, for loops over NumPy or JAX arrays; for torch see `pardata.torch`.

    Worker processes write each item of a batch where it belongs, in shared memory; the loop gets the batch there. Its
    arrays are writable and its own, and their memory is used again when they are gone. A killed worker is replaced, and
    its batch made again. Order and random numbers depend on seed and epoch, not on the workers.

    Parameters
    ----------
    dataset : object with `__getitem__`, object with `__iter__`, or Stream
        Items are asked for by ``dataset[key]`` with the keys 0 to ``len(dataset) - 1``, or those of a sampler; a whole
        batch by ``dataset.__getitems__(keys)`` if it has that. What only iterates is read by one process, a stream is
        run, once for each epoch.
    batch_size : int, or None
        Items of a batch; None: each item comes by itself.
    shuffle : bool
        Another order in each epoch.
    sampler : iterable of keys, optional
        Iterated over anew for each epoch.
    batch_sampler : iterable of lists of keys, optional
        One list for each batch.
    workers : int, optional
        Processes. Default: the cores that this process may use, and one behind a stream. 0: none; all is done by the
        calling thread when it asks for the batch.
    collate : callable, optional
        Called in a worker with the list of the items of a batch, and its result is what arrives. Default: arrays,
        tensors and numbers get a first axis, texts become a list; of dicts a dict of these is made, of tuples and lists
        a list, of named tuples a named tuple.
    drop_last : bool
        Leave out a last batch that is smaller.
    seed : int, at least 0, optional
        Of the order, of ``pardata.worker().random`` (for each item), and of the global generators of Python, NumPy and
        torch in the workers (for each batch). Default: another one for every feed.

    Returns
    -------
    Feed
        Iterate over it for an epoch, as often as you like. `state_dict` and `load_state_dict` continue an epoch.

    Raises
    ------
    ConfigError
        A wrong argument, or two that do not go together.
    Exception
        A loop over it raises an exception of the dataset as its own type, with a note of the item and the worker's
        traceback; `WorkerLostError` if a batch has cost three workers their lives.

    Examples
    --------
    >>> import numpy as np, pardata
    >>> images, labels = np.zeros((10, 4, 4)), np.arange(10)
    >>> with pardata.batches(list(zip(images, labels)), batch_size=4, workers=2) as feed:
    ...     for image, label in feed:
    ...         print(image.shape, label.tolist())
    (4, 4, 4) [0, 1, 2, 3]
    (4, 4, 4) [4, 5, 6, 7]
    (2, 4, 4) [8, 9]
    """
    return Feed(
        dataset, batch_size, shuffle=shuffle, sampler=sampler, batch_sampler=batch_sampler, workers=workers,
        collate=collate, drop_last=drop_last, seed=seed,
    )  # fmt: skip
