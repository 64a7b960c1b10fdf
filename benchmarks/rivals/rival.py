"""The interface of the rivals: the jobs that scenarios ask for. Every rival has those that its library is made for."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Flow:
    """The items of a pipeline and its functions.

    Parameters
    ----------
    items : the source; called with a function like `numpy.empty`, which gives arrays in the library's own memory if it
        has such, returns an iterator over arrays
    nbytes : of one item, about: a rival that needs bounds of queues or sizes of buffers derives them from it
    stages : functions of one item; may be closures
    inplace : the stages change their argument and return it
    chunk : how many items a message carries; None: as the library does
    engine : of the cluster that a flow on nodes is for, "dask" or "ray"
    """

    items: Callable[[Callable[..., Any]], Iterator[Any]]
    nbytes: int
    stages: tuple[Callable[[Any], Any], ...] = field(default=())
    inplace: bool = False
    chunk: int | None = None
    engine: str = "dask"

    def plain(self) -> Iterator[Any]:
        """The items in ordinary memory."""
        return self.items(np.empty)


@dataclass(frozen=True)
class Pool:
    """Workers that are up.

    Parameters
    ----------
    map : called as ``map(fn, items, chunksize)``, gives the list of results; chunksize None: as the library chooses
    call : called as ``call(fn, x)``, gives the result of one call
    """

    map: Callable[[Callable[[Any], Any], Any, int | None], list[Any]]
    call: Callable[[Callable[[Any], Any], Any], Any]


@dataclass(frozen=True)
class ArrayWork:
    """The work of `map_array`: to compute ``fn(array)``.

    Parameters
    ----------
    fn : treats entries along the first axis independently
    fill : called with the array, gives it its values
    shape : of the array, which is of float64
    """

    fn: Callable[[Any], Any]
    fill: Callable[[Any], None]
    shape: tuple[int, ...]

    def filled(self, empty: Callable[..., Any] = np.empty) -> Any:
        """The array, in memory that `empty` gives."""
        made = empty(self.shape)
        self.fill(made)
        return made

    def ranges(self, count: int) -> list[tuple[int, int]]:
        """Begin and end of `count` parts along the first axis, or of as many as there are entries."""
        bounds = np.linspace(0, self.shape[0], min(count, self.shape[0]) + 1).astype(int).tolist()
        return list(zip(bounds[:-1], bounds[1:], strict=True))


@dataclass(frozen=True)
class FileWork:
    """The work of `map_file`: to compute ``fn(source)`` into `target`.

    Parameters
    ----------
    fn : treats entries along the first axis independently
    source, target : paths of files of one format: .zarr, or .h5 with a dataset "data", both of which are there; or
        .tif, the target of which is a new file each time
    shape : of both arrays
    chunk_rows : rows of a chunk of both
    compression : of a new target
    """

    fn: Callable[[Any], Any]
    source: str
    target: str
    shape: tuple[int, ...]
    chunk_rows: int
    compression: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether the target is a new file."""
        return self.source.endswith(".tif")

    def remove_target(self) -> None:
        """Make place for a new one."""
        if self.is_new and os.path.exists(self.target):
            os.unlink(self.target)

    @contextmanager
    def opened(self, path: str, mode: str) -> Iterator[Any]:
        """The array at a path, opened by its library."""
        if self.is_new:
            import tifffile

            with tifffile.TiffFile(path) as images:
                yield images.series[0]
        elif self.source.endswith(".zarr"):
            import zarr

            yield zarr.open_array(path, mode=mode)  # type: ignore[arg-type]
        else:
            import h5py

            with h5py.File(path, mode) as file:
                yield file["data"]


Link = Callable[[Any], Any]


def same(x: Any) -> Any:
    """The work of the other end of a ping-pong: return the argument."""
    return x


def messages(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """The items, so many at a time."""
    while message := list(islice(items, size)):
        yield message


def in_order(calls: Iterable[Any], most: int, result: Callable[[Any], Any]) -> Iterator[Any]:
    """``result(call)`` for each of the calls, which begin as `calls` is iterated; at most `most` are under way."""
    waiting: deque[Any] = deque()
    for call in calls:
        waiting.append(call)
        if len(waiting) == most:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


class Rival:
    """The jobs; a subclass overrides those that can be done with its library, and `offers` tells which."""

    writable = True  # whether a stage may change the array that it gets

    @classmethod
    def offers(cls, job: str) -> bool:
        """True if this rival does the job of this name."""
        return getattr(cls, job) is not getattr(Rival, job)

    # ---- pipelines: every function and the source runs in a process (or thread) of its own -------------------------

    def chain(self, flow: Flow) -> Iterator[Any]:
        """source --> stage --> stage --> stage --> here, in order."""
        raise NotImplementedError

    def farm(self, flow: Flow, workers: int) -> Iterator[Any]:
        """source --> `workers` times the one stage --> here, in order."""
        raise NotImplementedError

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        """source --> every stage gets every item --> here, as they come."""
        raise NotImplementedError

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        """Many sources --> here, as they come."""
        raise NotImplementedError

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        """source --> two stages --> ``join(left, right)`` for each item --> here, in order."""
        raise NotImplementedError

    def nodes(self, flow: Flow) -> Iterator[Any]:
        """source here --> all stages, on one of two nodes of a cluster --> here, in order."""
        raise NotImplementedError

    def ping_pong(self, nbytes: int) -> AbstractContextManager[Link]:
        """A function that sends an array of up to `nbytes` to another process, which sends it back."""
        raise NotImplementedError

    # ---- pools ---------------------------------------------------------------------------------------------------

    def pool(self, workers: int) -> AbstractContextManager[Pool]:
        """Start workers; they end with the context."""
        raise NotImplementedError

    def map_array(self, work: ArrayWork, workers: int) -> AbstractContextManager[Callable[[], Any]]:
        """The array of the work, where the library wants it; and a function that gives ``fn(array)``, computed by warm
        workers on parts along the first axis, as one array."""
        raise NotImplementedError

    def map_new_arrays(self, work: ArrayWork, workers: int) -> AbstractContextManager[Callable[[], Callable[[], Any]]]:
        """A function that makes one more array of the work, and gives what `map_array` gives for it."""
        raise NotImplementedError

    def map_file(self, work: FileWork, workers: int) -> AbstractContextManager[Callable[[], None]]:
        """A function that fills the target of the work with ``fn(source)``, by warm workers."""
        raise NotImplementedError

    def map_windows(
        self, work: ArrayWork, array: Any, length: int, is_shared: bool, workers: int
    ) -> AbstractContextManager[Callable[[], Any]]:
        """As `map_array` over all windows of an array; `is_shared`: of a copy of it in shared memory."""
        raise NotImplementedError

    def tasks(
        self, workers: int
    ) -> AbstractContextManager[Callable[[Callable[..., Any], list[tuple[Any, ...]]], list[Any]]]:
        """A function that makes calls by joblib: it gets a function and a tuple of arguments for each."""
        raise NotImplementedError

    def survive(self) -> AbstractContextManager[Callable[[Callable[[str], Any], str], Any]]:
        """A function that gives ``fn(x)``, computed in a process that is killed the first time: with all that a user
        has to do to get it."""
        raise NotImplementedError

    def loader(
        self, dataset: Any, batch_size: int, workers: int
    ) -> AbstractContextManager[Callable[[], Iterator[Any]]]:
        """A function that begins an epoch: the batches of a dataset in its order, as tensors, by workers that stay."""
        raise NotImplementedError

    # ---- memory, look-ups, files -----------------------------------------------------------------------------------

    def shared_memory(self) -> Any:
        """The class that takes the place of `multiprocessing.shared_memory.SharedMemory`."""
        raise NotImplementedError

    def shareable_list(self) -> Any:
        """The class that takes the place of `multiprocessing.shared_memory.ShareableList`."""
        raise NotImplementedError

    def put_array(self, values: Any) -> AbstractContextManager[Any]:
        """A copy of `values` in memory that other processes can see."""
        raise NotImplementedError

    def lookup(
        self, place: str, keys: Any, values: Any, look: Callable[..., list[float]], *arguments: Any
    ) -> list[float]:
        """``look(mapping, *arguments)``, called in a worker, of a mapping from keys to values in a shared `place`:
        "table", "database", "service" (a library with only one place uses that)."""
        raise NotImplementedError

    def random_pages(self, array: Any, numbers: list[int]) -> AbstractContextManager[Callable[[], int]]:
        """A file with the rows of `array`; a function that reads those rows by themselves, gives how many."""
        raise NotImplementedError

    def all_pages(self, array: Any, whole: bool) -> AbstractContextManager[Callable[[], int]]:
        """A file with the rows of `array`; a function that reads it all, as one array if `whole`, else part by part,
        and gives how many rows."""
        raise NotImplementedError
