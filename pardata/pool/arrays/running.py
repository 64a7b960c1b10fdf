"""A job on arrays from its beginning to its end: the pool does it, and the caller waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pardata.pool.arrays.going_on import ArrayCheckpoint
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.job import ArrayJob
from pardata.pool.arrays.rows import Array
from pardata.pool.arrays.work import Work
from pardata.pool.backend import Backend, give_up
from pardata.pool.jobs.chunking import ChunkPolicy, Chunks
from pardata.pool.options import check_awaits_nothing
from pardata.runtime.stage_bars import Bars, check_progress

RowCuts = tuple[int, ChunkPolicy, bool]  # rows of a call, chunks, and whether these may be cut anew


def run_job(
    backend: Backend,
    what: str,
    work: Work,
    inputs: InputArrays,
    cuts: RowCuts,
    progress: Any,
    make_out: Callable[[Array, int], tuple[Array, Work]] | None = None,
    going_on: ArrayCheckpoint | None = None,
) -> ArrayJob:
    """Have a pool do a job, and return it when it is done; `what`: the method that its bar is for.

    Raises the error of the job.
    """
    check_progress(progress)
    job = _new_job(backend, work, inputs, cuts, make_out, going_on)
    bars = Bars({what: inputs.rows}, "row", progress) if progress else None
    try:
        backend.add(job)
        job.end.wait(backend.run_inline, lambda: job.progress, bars, None if going_on is None else going_on.tick)
        backend.catch_up()
    except BaseException as interrupt:  # no error of the function's: as Ctrl-C
        give_up(backend, job, interrupt)
        raise
    finally:
        job.cancel()
        backend.wake()
        if bars is not None:
            bars.update([job.progress], final=True)
            bars.close()
    if job.end.error is not None:
        error, job.end.error = job.end.error, None
        try:
            raise error
        finally:
            del error, job  # or its traceback would keep what the job has until the next garbage collection
    return job


def _new_job(
    backend: Backend,
    work: Work,
    inputs: InputArrays,
    cuts: RowCuts,
    make_out: Callable[[Array, int], tuple[Array, Work]] | None,
    going_on: ArrayCheckpoint | None,
) -> ArrayJob:
    block, policy, splits = cuts
    chunks = Chunks(policy, backend.setup.workers, inputs.rows, block)
    backend.recent.append(chunks)
    check_awaits_nothing(work.fn)
    code = backend.encode(work.fn)

    def encode(work: Work) -> Any:
        return backend.encode_work(work, code)

    number, rows, retries = backend.next_number(), inputs.rows, backend.setup.retries
    return ArrayJob(encode, work, number, rows, block, chunks, inputs.arrays, make_out, retries, splits, going_on)
