"""`map_array`, `reduce_array`, `foreach_array`: have what was given checked and placed, wait, hand the result over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pardata.errors import ConfigError
from pardata.memory.plain import plain_array
from pardata.pool.addresses import allocate_mapped
from pardata.pool.array_inputs import Inputs
from pardata.pool.array_job import ArrayJob
from pardata.pool.array_output import Output
from pardata.pool.chunking import Chunks, parse_chunksize
from pardata.pool.crew import Crew, give_up
from pardata.pool.rows import Array, Work
from pardata.runtime.progress import Bars


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

    code = crew.encode(work.fn)

    def encode(work: Work) -> Any:
        return crew.encode_work(work, code)

    number, retries = crew.next_number(), crew.setup.retries
    job = ArrayJob(encode, work, number, inputs.rows, block, chunks, inputs.arrays, make_out, retries, splits)
    bars = Bars([what], [inputs.rows], "row", progress) if progress else None
    try:
        crew.add(job)
        job.wait(crew.help, bars)
    except BaseException as interrupt:  # no error of the function's: as Ctrl-C
        give_up(crew, job, interrupt)
        raise
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
    made = plain_array(fn(*(array[:] for array in inputs.arrays)), "the function returned")
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
    allocate_mapped(array)
    inputs.hold(crew)
    work = Work(fn, inputs.addresses(crew), "each", inputs.axis)
    _run(crew, "foreach_array", work, inputs, chunksize, progress)
    if not crew.places.reaches(array):
        array[...] = inputs.arrays[0]
