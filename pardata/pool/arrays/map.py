"""`map_array`, `reduce_array`, `foreach_array`: have what was given checked and placed, wait, hand the result over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.memory.plain import plain_array
from pardata.pool.arrays.addresses import allocate_mapped
from pardata.pool.arrays.inputs import Inputs
from pardata.pool.arrays.job import ArrayJob
from pardata.pool.arrays.output import Output
from pardata.pool.arrays.rows import Array, Work
from pardata.pool.backend import Backend, give_up
from pardata.pool.jobs.chunking import Chunks, parse_chunksize
from pardata.runtime.progress import Bars


def _check_function(what: str, fn: object) -> None:
    if not callable(fn):
        raise ConfigError(f"{what} needs a function, not {type(fn).__name__}")


def _run(
    backend: Backend,
    what: str,
    work: Work,
    inputs: Inputs,
    chunksize: object,
    progress: Any,
    make_out: Callable[[Array, int], tuple[Array, Work]] | None = None,
) -> ArrayJob:
    block, policy, splits = inputs.blocks(chunksize, backend.workers)
    chunks = Chunks(policy, backend.workers, inputs.rows, block)
    backend.recent.append(chunks)

    code = backend.encode(work.fn)

    def encode(work: Work) -> Any:
        return backend.encode_work(work, code)

    number, retries = backend.next_number(), backend.setup.retries
    job = ArrayJob(encode, work, number, inputs.rows, block, chunks, inputs.arrays, make_out, retries, splits)
    bars = Bars([what], [inputs.rows], "row", progress) if progress else None
    try:
        backend.add(job)
        job.wait(backend.run_inline, bars)
    except BaseException as interrupt:  # no error of the function's: as Ctrl-C
        give_up(backend, job, interrupt)
        raise
    finally:
        job.cancel()
        backend.wake()
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
    backend: Backend,
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
    output = Output(backend, out, inputs, dtype)
    parse_chunksize(chunksize)
    if inputs.rows == 0:
        return _map_nothing(backend, fn, inputs, out, output)
    inputs.hold(backend)
    work = Work(fn, inputs.addresses(backend), "first", inputs.axis, halo)
    try:
        _run(backend, "map_array", work, inputs, chunksize, progress, output.make(work))
        return output.finish(out)
    finally:
        output.discard()


def _map_nothing(backend: Backend, fn: Callable[..., Any], inputs: Inputs, out: Any, output: Output) -> Any:
    made = plain_array(fn(*(array[:] for array in inputs.arrays)), "the function returned")
    if isinstance(out, np.ndarray):
        if out.shape != made.shape:
            raise ConfigError(f"out has shape {out.shape}; the function's results need {made.shape}")
        return out
    target, _ = output.make(Work(fn, (), "first"))(made, min(inputs.axis, made.ndim - 1))
    target[...] = made
    return output.finish(out)


def reduce_array(
    backend: Backend,
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
    inputs.hold(backend)
    work = Work(fn, inputs.addresses(backend), "reduce", inputs.axis, combine=combine)
    return _run(backend, "reduce_array", work, inputs, chunksize, progress).combined()


def foreach_array(
    backend: Backend, fn: Callable[[Any], Any], array: Any, axis: int, chunksize: object, progress: Any
) -> None:
    """Do what `WorkerPool.foreach_array` says."""
    _check_function("foreach_array", fn)
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        raise ConfigError("foreach_array changes its array in place: give it a writable numpy array")
    inputs = Inputs("foreach_array", [array], axis, 0)
    parse_chunksize(chunksize)
    if inputs.rows == 0:
        return
    allocate_mapped(array)
    inputs.hold(backend)
    work = Work(fn, inputs.addresses(backend), "each", inputs.axis)
    _run(backend, "foreach_array", work, inputs, chunksize, progress)
    if not backend.places.reaches(array):
        array[...] = inputs.arrays[0]
