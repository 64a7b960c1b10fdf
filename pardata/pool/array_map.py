"""`map_array`, `reduce_array`, `foreach_array`: check what was given, place it, wait, hand the result over."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pardata.errors import ConfigError
from pardata.pool.addresses import Address, is_paged, overlap
from pardata.pool.array_job import ArrayJob, fits, result_shape, writing
from pardata.pool.chunking import BLOCK_BYTES, Chunks, Policy, parse_chunksize
from pardata.pool.codes import name_of
from pardata.pool.crew import Crew
from pardata.pool.rows import Array, Work
from pardata.runtime.progress import Bars

_HALO_SHARE: Final = 8  # a call gets so many times its halo, if there are rows for all workers
_CALLS_PER_WORKER: Final = 4  # at least, of arrays that would fit into the caches of fewer


class Inputs:
    """The arrays of a job, checked.

    Raises
    ------
    ConfigError
        One has no such axis, another length along it, or holds Python objects.
    """

    def __init__(self, what: str, arrays: Sequence[Any], axis: int, halo: int) -> None:
        self.arrays = [_checked(what, array) for array in arrays]
        first = self.arrays[0]
        ndim = len(first.shape)
        try:
            self.axis = operator.index(axis)
        except TypeError:
            raise ConfigError(f"axis must be an int, not {axis!r}") from None
        if not -ndim <= self.axis < ndim:
            raise ConfigError(f"{what} got axis={axis} for an array of shape {first.shape}, which has no such axis")
        self.axis %= ndim
        self.rows: int = first.shape[self.axis]
        for array in self.arrays[1:]:
            if len(array.shape) <= self.axis or array.shape[self.axis] != self.rows:
                raise ConfigError(
                    f"{what} cuts all arrays alike: shape {array.shape} has not {self.rows} entries along axis "
                    f"{self.axis}, as {first.shape} has"
                )
        try:
            self.halo = operator.index(halo)
        except TypeError:
            self.halo = -1
        if self.halo < 0 or isinstance(halo, bool):
            raise ConfigError(f"halo must be an int of at least 0, not {halo!r}")
        self.page_rows: int = max([array.page_rows for array in self.arrays if is_paged(array)], default=1)
        if self.page_rows > 1 and self.axis:
            raise ConfigError("rows that are read page by page are cut along axis 0")

    @property
    def nbytes(self) -> int:
        """Of the largest array."""
        return max(int(math.prod(array.shape) * array.dtype.itemsize) for array in self.arrays)

    def hold(self, crew: Crew) -> None:
        """Have every array where the workers can get at it."""
        self.arrays = [crew.places.hold(array) for array in self.arrays]

    def addresses(self, crew: Crew) -> tuple[Address, ...]:
        return tuple(crew.places.address(array) for array in self.arrays)

    def blocks(self, chunksize: object, workers: int) -> tuple[int, Policy, bool]:
        """Return the entries per call, how calls are put into chunks, and whether a call may be of fewer entries.

        An int and a size say what a call gets: chunks are several calls then. Other chunk sizes leave that to us.
        """
        policy = parse_chunksize(chunksize)
        if policy.kind == "fixed":
            return int(policy.value), Policy("auto"), False
        row_bytes = max(1, self.nbytes // max(1, self.rows))
        block = int(policy.value if policy.kind == "bytes" else BLOCK_BYTES) // row_bytes
        if policy.kind != "bytes":  # what a row costs is not known: each worker gets several calls, if there are rows
            block = min(block, -(-self.rows // (_CALLS_PER_WORKER * workers)))
        block = max(1, block, min(_HALO_SHARE * self.halo, -(-self.rows // workers)))
        if self.page_rows > 1:
            block = -(-block // self.page_rows) * self.page_rows  # no two chunks read the same page
        return min(block, self.rows), Policy("auto") if policy.kind == "bytes" else policy, True


def _checked(what: str, array: Any) -> Any:
    if is_paged(array):
        return array
    if isinstance(array, np.ma.MaskedArray):
        raise ConfigError(f"{what} cannot share a masked array: give its data and its mask")
    given = np.asarray(array) if not isinstance(array, np.ndarray) else array.view(np.ndarray)
    if given.ndim == 0:
        raise ConfigError(f"{what} needs an array with at least one axis, not {type(array).__name__}")
    if given.dtype.hasobject:
        raise ConfigError(f"{what} cannot share an array of {given.dtype}: it holds Python objects")
    return given


class Output:
    """Where `map_array` writes: a new shared array, an array of the user's, or a file that appears at the end."""

    def __init__(self, crew: Crew, out: Any, inputs: Inputs, dtype: Any) -> None:
        self._crew = crew
        self._inputs = inputs
        self._dtype = _checked_dtype(dtype)
        self._path = os.fspath(out) if isinstance(out, str | os.PathLike) else None
        self._given: Array | None = None
        self._target: Array | None = None
        self._partial: str | None = None
        self._mode = 0o644
        if self._path is not None:
            if not str(self._path).endswith(".npy"):
                raise ConfigError(f"out must be an array or the path of a .npy file, not {self._path!r}")
            if not os.path.isdir(os.path.dirname(os.path.abspath(self._path))):
                raise ConfigError(f"out={self._path!r}: there is no such directory")
        elif out is not None:
            self._given = _checked_out(out, inputs.rows)
            if self._dtype not in (None, self._given.dtype):
                raise ConfigError(f"out is of {self._given.dtype}, dtype={self._dtype} was asked for: give one of them")

    def make(self, work: Work) -> Callable[[Array, int], tuple[Array, Work]]:
        """Return what makes the output of the first block's result."""

        def make_out(first: Array, axis: int) -> tuple[Array, Work]:
            shape = result_shape(first, axis, self._inputs.rows)
            dtype = self._dtype or first.dtype
            if self._given is not None:
                dtype = self._given.dtype
                if self._given.shape != shape:
                    raise ConfigError(f"out has shape {self._given.shape}; the function's results need {shape}")
            if first.dtype.hasobject:
                raise ConfigError("the function returned Python objects: use map for these")
            if not fits(first, dtype):
                raise ValueError(f"the function returned {first.dtype}, which does not fit the output's {dtype}")
            self._target = self._place(shape, dtype)
            exact = self._given is None and self._dtype is None
            return self._target, writing(work, self._crew.places.address(self._target), axis, exact)

        return make_out

    def _place(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        if self._path is not None:
            folder = os.path.dirname(os.path.abspath(self._path))
            fd, self._partial = tempfile.mkstemp(".npy", "." + os.path.basename(self._path), folder)
            os.close(fd)
            os.unlink(self._partial)  # and made anew, as any file is: with the mode that the user's umask gives
            with open(self._partial, "xb") as file:
                self._mode = os.fstat(file.fileno()).st_mode & 0o777
            return np.lib.format.open_memmap(self._partial, "w+", dtype, shape)
        out = self._given
        # What overlaps an input is written at the end: a chunk that is done again must find the input as it was.
        reaches = out is not None and self._crew.places.reaches(out)
        if out is not None and reaches and not any(overlap(out, array) for array in self._inputs.arrays):
            return out
        return self._crew.places.empty(shape, dtype)

    def finish(self, out: Any) -> Any:
        """Return what the user gets; `out` is what they gave."""
        target = self._target
        if self._path is not None:
            assert isinstance(target, np.memmap) and self._partial is not None
            target.flush()
            os.chmod(self._partial, self._mode)
            os.replace(self._partial, self._path)
            self._partial = None
            return np.load(self._path, mmap_mode="r+")
        if self._given is None:
            return target
        if target is not self._given:
            self._given[...] = target
        return out

    def discard(self) -> None:
        """Remove a file that was begun."""
        if self._partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._partial)


def _checked_dtype(dtype: Any) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    try:
        made: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ConfigError(f"dtype={dtype!r} is none of NumPy's: {error}") from None
    if made.hasobject:
        raise ConfigError(f"dtype={made} holds Python objects, which cannot be shared")
    return made


def _checked_out(out: Any, rows: int) -> Array:
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ConfigError("out must be writable, and this array is read-only")
    if not isinstance(out, np.ndarray) or rows not in out.shape or not out.flags.writeable or out.dtype.hasobject:
        what = f"an array of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ConfigError(f"out must be a writable array of {rows} rows without objects, not {what}")
    return out.view(np.ndarray) if type(out) is not np.ndarray else out


def _check_function(what: str, fn: object) -> None:
    if not callable(fn):
        raise ConfigError(f"{what} needs a function, not {type(fn).__name__}")


def _run(
    crew: Crew,
    what: str,
    work: Work,
    inputs: Inputs,
    chunksize: object,
    progress: Any,
    make_out: Callable[[Array, int], tuple[Array, Work]] | None = None,
) -> ArrayJob:
    block, policy, splits = inputs.blocks(chunksize, crew.workers)
    chunks = Chunks(policy, crew.workers, inputs.rows, block)
    crew.recent.append(chunks)

    def encode(work: Work) -> Any:
        return crew.encode(work, name_of(work.fn))

    number, retries = crew.next_number(), crew.setup.retries
    job = ArrayJob(encode, work, number, inputs.rows, block, chunks, inputs.arrays, make_out, retries, splits)
    bars = Bars([what], [inputs.rows], "row", progress) if progress else None
    crew.add(job)
    try:
        job.wait(crew.help, bars)
    finally:
        job.cancel()
        crew.wake()
        if bars is not None:
            bars.update([job.progress], final=True)
            bars.close()
    if job.error is not None:
        error, job.error = job.error, None
        try:
            raise error
        finally:
            del error, job  # or its traceback would keep what the job has until the next garbage collection
    return job


def map_array(
    crew: Crew,
    fn: Callable[..., Any],
    arrays: Sequence[Any],
    axis: int,
    chunksize: object,
    out: Any,
    halo: int,
    dtype: Any,
    progress: Any,
) -> Any:
    """Do what `WorkerPool.map_array` says."""
    _check_function("map_array", fn)
    inputs = Inputs("map_array", arrays, axis, halo)
    output = Output(crew, out, inputs, dtype)
    parse_chunksize(chunksize)
    if inputs.rows == 0:
        return _map_nothing(crew, fn, inputs, out, output)
    inputs.hold(crew)
    work = Work(fn, inputs.addresses(crew), "first", inputs.axis, halo)
    try:
        _run(crew, "map_array", work, inputs, chunksize, progress, output.make(work))
        return output.finish(out)
    finally:
        output.discard()


def _map_nothing(crew: Crew, fn: Callable[..., Any], inputs: Inputs, out: Any, output: Output) -> Any:
    made = np.asarray(fn(*(array[:] for array in inputs.arrays)))
    if isinstance(out, np.ndarray):
        if out.shape != made.shape:
            raise ConfigError(f"out has shape {out.shape}; the function's results need {made.shape}")
        return out
    target, _ = output.make(Work(fn, (), "first"))(made, min(inputs.axis, made.ndim - 1))
    target[...] = made
    return output.finish(out)


def reduce_array(
    crew: Crew,
    fn: Callable[[Any], Any],
    array: Any,
    combine: Callable[[Any, Any], Any],
    axis: int,
    chunksize: object,
    progress: Any,
) -> Any:
    """Do what `WorkerPool.reduce_array` says."""
    _check_function("reduce_array", fn)
    _check_function("reduce_array", combine)
    inputs = Inputs("reduce_array", [array], axis, 0)
    parse_chunksize(chunksize)
    if inputs.rows == 0:
        return fn(inputs.arrays[0][:])
    inputs.hold(crew)
    work = Work(fn, inputs.addresses(crew), "reduce", inputs.axis, combine=combine)
    return _run(crew, "reduce_array", work, inputs, chunksize, progress).combined()


def foreach_array(
    crew: Crew, fn: Callable[[Any], Any], array: Any, axis: int, chunksize: object, progress: Any
) -> None:
    """Do what `WorkerPool.foreach_array` says."""
    _check_function("foreach_array", fn)
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        raise ConfigError("foreach_array changes its array in place: give it a writable numpy array")
    inputs = Inputs("foreach_array", [array], axis, 0)
    parse_chunksize(chunksize)
    if inputs.rows == 0:
        return
    inputs.hold(crew)
    work = Work(fn, inputs.addresses(crew), "each", inputs.axis)
    _run(crew, "foreach_array", work, inputs, chunksize, progress)
    if not crew.places.reaches(array):
        array[...] = inputs.arrays[0]
