"""The segment of this process tree: its spans, and the arena of the process that the user started.

Every run and every pool of a process takes its spans from one segment, so an array of one of them has the same address
in all of them: a result of a run goes into a pool without a copy.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from operator import index
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from pardata.errors import CapacityError, ConfigError
from pardata.memory.arena import HEADER_BYTES, Arena, Span
from pardata.memory.array import view
from pardata.memory.exchange.addresses import set_exports
from pardata.memory.exchange.exports import Exports
from pardata.memory.layout import compact_strides, copy, fill, is_overlapping, layout_of
from pardata.memory.plain import plain_array
from pardata.memory.segment import Segment
from pardata.memory.shared_array import shared_view
from pardata.process.system import at_fork

LEVELS_AT, LEVELS_BYTES = HEADER_BYTES, 16_384  # of the parent's span: the log levels, for its workers
SPANS: Final = 512  # 64 GiB each in a segment of full size: the most that one process may have live
_SMALLEST_SPAN_BYTES: Final = 128 << 20
_WARM_BYTES: Final = 16 << 10  # smaller copies are as fast in ordinary memory
_KEPT_BYTES: Final = 256 << 20  # free memory of the user's deleted arrays that is kept for the next ones


def span_places(segment_bytes: int) -> range:
    """Return the places of all spans that a segment of this size has room for: as many bytes apart as each has."""
    span_bytes = max(segment_bytes // SPANS, _SMALLEST_SPAN_BYTES)
    return range(0, segment_bytes // span_bytes * span_bytes, span_bytes)


def own_spans(spans: int) -> int:
    """Return how many of the spans are the main process's: it holds whole input and output arrays."""
    return max(1, min(8, spans // 4))


class SharedHeap:
    """The segment, divided into spans that runs and pools take and return."""

    def __init__(self) -> None:
        self.segment = Segment.create()
        places = span_places(self.segment.size_bytes)
        self.span_bytes, self._spans = places.step, len(places)
        own = own_spans(self._spans)
        span = Span(0, own * self.span_bytes)
        self.arena = Arena(
            self.segment, span, LEVELS_AT + LEVELS_BYTES, None, "the main process", kept_bytes=_KEPT_BYTES
        )
        self._free_spans = list(reversed(range(own, self._spans)))
        self._most_free = len(self._free_spans)
        self._lock = threading.RLock()

    def take_span(self) -> Span:
        """Return a span whose bytes are all zero."""
        with self._lock:
            if not self._free_spans:
                raise CapacityError(
                    f"all runs and pools of a process together have at most {self._most_free} workers at a time: ask "
                    f"for fewer, or close runs and pools that are done"
                )
            return Span(self._free_spans.pop() * self.span_bytes, self.span_bytes)

    def return_spans(self, spans: Iterable[Span]) -> None:
        """Give spans back, which no process uses any more."""
        for span in spans:
            self.segment.punch(span.offset, span.size_bytes)  # first: `take_span` promises zeros
            with self._lock:
                self._free_spans.append(span.offset // self.span_bytes)

    @property
    def most_workers(self) -> int:
        """The number of spans for workers, in use or not."""
        return self._most_free

    @property
    def spans_in_use(self) -> int:
        """The number of spans that belong to a run, to a pool or to arrays that outlived theirs."""
        return self._most_free - len(self._free_spans)


_lock = threading.Lock()
_heap: SharedHeap | None = None
_worker_arena: Arena | None = None
_of_thread = threading.local()


def shared_heap() -> SharedHeap:
    """Return the heap of this process, made at the first call."""
    global _heap
    with _lock:
        if _heap is None:
            _heap = SharedHeap()
            set_exports(Exports(_heap.arena))
        return _heap


def set_worker_arena(arena: Arena) -> None:
    """Make this process a worker: `empty` gives memory of its arena from now on."""
    global _worker_arena
    _worker_arena = arena


def set_thread_arena() -> None:
    """Make this thread a worker: `result_array` gives memory of the process's arena from now on."""
    _of_thread.arena = shared_heap().arena


def in_worker() -> bool:
    """Return whether this process is a worker."""
    return _worker_arena is not None


def _forget() -> None:
    """Forget both in a forked child: the segment is the parent's, and the arena that of the worker that forked."""
    global _heap, _lock, _worker_arena, _of_thread
    _heap, _lock, _worker_arena, _of_thread = None, threading.Lock(), None, threading.local()


at_fork(after_in_child=_forget)


def check_shape(shape: int | tuple[int, ...], dtype: DTypeLike) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape, dtype and size in bytes of an array. Raises `ConfigError`."""
    if isinstance(dtype, int):
        raise TypeError(f"{dtype!r} is no dtype: the shape of several axes is a tuple, ({shape!r}, {dtype!r})")
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ConfigError(f"an array of {kind} holds Python objects or pointers: it cannot be shared")
    try:
        sizes = tuple(map(index, shape)) if isinstance(shape, Iterable) else (index(shape),)
    except TypeError:
        raise TypeError(f"a shape is an int or a tuple of ints, not {shape!r}") from None
    count = 1
    for size in sizes:
        if size < 0:
            raise ConfigError(f"negative dimensions are not allowed: {shape}")
        count *= size
    return sizes, kind, count * kind.itemsize


def new_array(
    arena: Arena,
    shape: int | tuple[int, ...],
    dtype: DTypeLike,
    *,
    zeroed: bool = False,
    is_filled: bool = True,
    strides: tuple[int, ...] | None = None,
) -> Any:
    """Return a new writable array in a block of `arena`, contents undefined or all bytes zero; else as `empty`."""
    sizes, kind, nbytes = check_shape(shape, dtype)
    make = view if arena is _worker_arena else shared_view
    return make(arena.reserve(max(1, nbytes), zeroed=zeroed, is_filled=is_filled), 0, kind, sizes, strides)


def shared_copy(arena: Arena, array: np.ndarray[Any, Any]) -> Any:
    """Return a copy of `array` in a block of `arena`, with the memory layout of `array`; else as `empty`.

    If the entries of `array` share memory, those of the copy do, and it is read-only.
    """
    layout = layout_of(array)
    block = arena.reserve(max(1, layout.nbytes))
    make = view if arena is _worker_arena else shared_view
    made = make(block, layout.offset, array.dtype, array.shape, layout.strides)
    fill(made, array)
    if is_overlapping(array):
        made.setflags(write=False)
    return made


def own_copy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a writable copy for a function of this process; one that is large, in warm memory of a worker's arena."""
    if _worker_arena is None or array.nbytes < _WARM_BYTES:
        return copy(array)
    return shared_copy(_worker_arena, array)  # type: ignore[no-any-return]


def result_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
    """Return a new writable array for a result; one that is large, in a worker's arena, from where it is not copied."""
    arena, kind = _worker_arena or getattr(_of_thread, "arena", None), np.dtype(dtype)
    if arena is None or (nbytes := math.prod(shape) * kind.itemsize) < _WARM_BYTES:
        return np.empty(shape, kind)
    return view(arena.reserve(nbytes), 0, kind, shape, None)  # type: ignore[no-any-return]


def _arena() -> Arena:
    """Return the arena for arrays that the user makes in this process."""
    return _worker_arena if _worker_arena is not None else shared_heap().arena


def empty(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> Any:
    """Return a new writable array in shared memory, contents undefined.

    Outside of a stage or a task it lies in the main process's arena, from where runs and pools read (and `map_array`
    writes) it without a copy. Inside, it lies in the worker's own arena: to return or to yield it sends no copy.

    Parameters
    ----------
    shape : int or tuple of int, entries >= 0
    dtype : any dtype without objects

    Returns
    -------
    SharedArray, shape `shape`, C order; inside a stage or a task numpy.ndarray
        Its memory is free when the last view of it is gone: up to 256 MiB, or as much as is in use, are kept for the
        next arrays, the rest goes back to the system.

    Raises
    ------
    ConfigError
        `dtype` holds Python objects, or a dimension is negative.
    CapacityError
        The memory limit of the run, the address space of the process or its limit of file sizes would be passed.
    PlatformError
        This system has no shared memory: that needs Linux.

    Examples
    --------
    >>> frame = pardata.empty((2, 3), "float32")
    >>> frame[...] = 1
    >>> float(frame.sum())
    6.0
    """
    return new_array(_arena(), shape, dtype, is_filled=False)


def zeros(shape: int | tuple[int, ...], dtype: DTypeLike = float) -> Any:
    """Return a new writable array of zeros in shared memory. Pages that are never written to take no memory.

    Parameters
    ----------
    shape : int or tuple of int, entries >= 0
    dtype : any dtype without objects

    Returns
    -------
    SharedArray, shape `shape`, C order; inside a stage or a task numpy.ndarray
        Its memory goes as that of `empty`.

    Raises
    ------
    ConfigError, CapacityError, PlatformError
        As `empty`.

    Examples
    --------
    >>> pardata.zeros(3)
    SharedArray([0., 0., 0.])
    """
    return new_array(_arena(), shape, dtype, zeroed=True)  # the zero of every dtype without objects is zero bytes


def array(values: ArrayLike, dtype: DTypeLike | None = None, *, readonly: bool = False) -> Any:
    """Return a copy of `values` in shared memory.

    Parameters
    ----------
    values : array_like
        Plain numbers, texts or records: no masked array, no unit, no column with missing integers.
    dtype : any dtype without objects, optional
        None: that of `values`.
    readonly : bool
        True for an array that is read-only, here and in every process that receives it.

    Returns
    -------
    SharedArray, shape and order of axes of `values`; inside a stage or a task numpy.ndarray
        Its memory goes as that of `empty`.

    Raises
    ------
    LossError
        A mask, a unit or missing values would be lost.
    ConfigError, CapacityError, PlatformError
        As `empty`.

    Examples
    --------
    >>> pardata.array([[1, 2], [3, 4]], float)
    SharedArray([[1., 2.],
                 [3., 4.]])
    """
    given = plain_array(values, "pardata.array got", dtype)
    if given.ndim == 0 and given.dtype.hasobject:
        raise ConfigError(f"pardata.array needs numbers, or a list or array of them, not {type(values).__name__}")
    strides = None if given.flags.c_contiguous else compact_strides(given)  # of an overlapping view all entries, too
    made = new_array(_arena(), given.shape, given.dtype, strides=strides)
    made[...] = given
    made.setflags(write=not readonly)
    return made
