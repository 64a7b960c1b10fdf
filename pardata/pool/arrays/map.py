"""`map_array`, `reduce_array`, `foreach_array`: check and place the arrays, wait, hand the result over."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pardata.checkpoint.folder import check_restart
from pardata.data.registry import file_array
from pardata.errors import ConfigError
from pardata.memory.plain import plain_array
from pardata.pool.arrays.addresses import allocate_mapped
from pardata.pool.arrays.by_value import change_rows, map_rows, reduce_rows, sending
from pardata.pool.arrays.checks import check_changeable, check_combine, check_function
from pardata.pool.arrays.going_on import ArrayCheckpoint
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.one_writer import captured, map_by_one_writer
from pardata.pool.arrays.output import Output
from pardata.pool.arrays.running import RowCuts, run_job
from pardata.pool.arrays.work import Work
from pardata.pool.jobs.chunking import Chunksize, parse_chunksize
from pardata.pool.maps import MapMethods
from pardata.pool.options import check_awaits_nothing
from pardata.runtime.option_names import OF_POOLS, tells_options
from pardata.runtime.stage_bars import Bars, check_progress


class ArrayMethods(MapMethods):
    """The methods of a pool that work on blocks of arrays."""

    @tells_options(OF_POOLS)
    def map_array(
        self,
        fn: Callable[..., Any],
        array: Any,
        *arrays: Any,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        out: Any = None,
        halo: int = 0,
        dtype: Any = None,
        compression: Any = None,
        progress: Any = False,
        checkpoint: str | os.PathLike[str] | None = None,
        restart: bool = False,
    ) -> Any:
        """Apply `fn` to consecutive blocks of `array` along `axis` and put the results together.

        The result equals ``fn(array)`` for any `fn` that treats entries along `axis` independently, or that looks no
        further than `halo`, whatever the chunking. If it raises, `out` may be partly written and no other memory stays
        reserved.

        Parameters
        ----------
        fn : callable
            Gets a read-only block of each array (of length 0, if they are), returns as many entries along `axis`. It
            may change the other axes, or drop some; `axis` then counts from the end.
        array, arrays : array_like, shape (n, ...) if `axis` is 0, any dtype without objects
            Of the same length along `axis`. Not copied if they live in shared memory (`pardata.empty`, a result of this
            method, an item of a run), nor a `numpy.memmap`, which the workers open by its path. Of a file in pages
            every worker reads its own rows, whole pages at a time, of a `zarr.Array` or `h5py.Dataset` whole chunks.
        chunksize : int or str
            An int (or a size, "4MB") is the size of a call. Else calls get blocks that fit the cache, and workers get
            as many at a time as `chunksize` says: see `map`.
        out : array, shape as the result, or path of a .npy, .zarr, .h5 or .tif file, optional
            Where to write, cast as NumPy's ``out=`` ("same_kind"); without a copy if it lives in shared memory or in a
            `numpy.memmap` and does not overlap an input. A file appears when it is complete. To a `zarr.Array` each
            worker writes whole chunks (shards, if it has any), to an `h5py.Dataset` this process writes.
        halo : int
            How many entries more `fn` gets on each side, where there are any. Its result for them is cut off.
        dtype : dtype, optional
            Of the result. Default: that of the first block's result.
        compression : str, optional
            Of a new .h5 or .tif file, as its library names it ("gzip", "zlib"): the workers compress.
        progress : bool, or a class or function like tqdm
            Show a bar, in rows.
        checkpoint : path of a folder, optional
            With the path of a .npy file as `out`: rows that are done are noted there, about once in a second. After a
            kill, a power cut or an error the same call goes on with the others. See docs/checkpoints.md.
        restart : bool
            Begin again, whatever is in the folder.

        Returns
        -------
        array in shared memory (of a DataArray one with its names), or `out`; of a path what its library opens there

        Raises
        ------
        ConfigError
            There is no such axis, arrays differ in length, hold objects, `out` does not fit, or `fn` cannot be pickled.
            Workers cannot open a file, or two of them would write to one chunk of `out`. Nothing was written. Or the
            checkpoint belongs to another function, other arrays or another `out`.
        ValueError
            `fn` returned another number of entries, or another shape or dtype than for the first block.

        Source: guided self-scheduling, Polychronopoulos & Kuck 1987
        """
        check_function("map_array", fn)
        backend = self._backend
        with backend.calling():
            inputs = InputArrays("map_array", (array, *arrays), axis, halo)
            output = Output(backend.places, out, inputs, dtype, compression)
            parse_chunksize(chunksize)
            check_progress(progress)
            check_restart(checkpoint, restart)
            work = Work(fn, (), "first", inputs.axis, inputs.halo, native=backend.setup.native)
            if checkpoint is not None:
                check_awaits_nothing(fn)
                if backend.places.go_by_value:
                    raise ConfigError("map_array: checkpoint= is for pools on this machine")
                output.going_on = ArrayCheckpoint(checkpoint, work, inputs.arrays, out, dtype, restart)
            going_on = output.going_on
            try:
                if going_on is not None and going_on.is_complete:
                    going_on.finish()
                    return np.load(out, mmap_mode="r+")
                if inputs.rows == 0:
                    return _map_nothing(fn, inputs, out, output, backend.setup.native)
                self._map_rows(work, inputs, chunksize, output, progress)
                return output.finish(out)
            finally:
                output.discard()

    def _map_rows(self, work: Work, inputs: InputArrays, chunksize: Chunksize, output: Output, progress: Any) -> None:
        """Have the rows computed, and written by those who may write to the output."""
        backend = self._backend
        inputs.hold(backend.places, backend.setup.native)
        cuts = inputs.blocks(chunksize, backend.setup.workers, output.unit, output.least_bytes)
        if backend.places.go_by_value:
            with sending(self.results, "map_array", inputs, cuts[0], chunksize, progress) as sender:
                map_rows(sender, work, output)
        elif output.has_one_writer:
            self._map_by_one_writer(replace(work, inputs=captured(inputs)), inputs, cuts[0], output, progress)
        else:
            work = replace(work, inputs=inputs.addresses(backend.places))
            self._map_by_workers(work, inputs, cuts, output, progress)

    def _map_by_one_writer(self, work: Work, inputs: InputArrays, block: int, output: Output, progress: Any) -> None:
        bars = Bars({"map_array": inputs.rows}, "row", progress) if progress else None
        try:
            map_by_one_writer(partial(self.results, window=2 * self.workers), work, inputs, block, output, bars)
        finally:
            if bars is not None:
                bars.close()

    def _map_by_workers(self, work: Work, inputs: InputArrays, cuts: RowCuts, output: Output, progress: Any) -> None:
        make_out = output.make(work, cuts[0])
        if output.going_on is not None and output.going_on.place is not None:
            work = output.go_on(work)
        run_job(self._backend, "map_array", work, inputs, cuts, progress, make_out, output.going_on)

    def reduce_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        combine: Callable[[Any, Any], Any],
        *,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        progress: Any = False,
    ) -> Any:
        """Return the results of `fn` for blocks of `array` along `axis`, combined by `combine`.

        Workers combine the results of their own blocks; these are combined two by two, in the order of the rows.

        Parameters
        ----------
        fn : callable
            Gets a read-only block; returns any object that can be pickled.
        array, axis, chunksize, progress
            As of `map_array`; an array without entries gives ``fn(array)``.
        combine : callable
            Gets the results of two neighbours, returns that of both. It must be associative: blocks are not cut in the
            same way every time.

        Raises
        ------
        ConfigError
            As of `map_array`, or `combine` does not take two arguments.
        Exception
            What `fn` or `combine` has raised, with a note of the rows.

        Examples
        --------
        >>> with pardata.WorkerPool(2) as pool:
        ...     pool.reduce_array(np.max, np.arange(10), max).item()
        9
        """
        check_function("reduce_array", fn)
        check_function("reduce_array", combine)
        check_combine(combine)
        backend = self._backend
        with backend.calling():
            inputs = InputArrays("reduce_array", [array], axis, 0)
            parse_chunksize(chunksize)
            if inputs.rows == 0:
                return fn(*inputs.whole(backend.setup.native))
            inputs.hold(backend.places, backend.setup.native)
            cuts = inputs.blocks(chunksize, backend.setup.workers)
            work = Work(fn, (), "reduce", inputs.axis, combine=combine, native=backend.setup.native)
            if backend.places.go_by_value:
                with sending(self.results, "reduce_array", inputs, cuts[0], chunksize, progress) as sender:
                    return reduce_rows(sender, work)
            work = replace(work, inputs=inputs.addresses(backend.places))
            return run_job(backend, "reduce_array", work, inputs, cuts, progress).results.combined()

    def foreach_array(
        self,
        fn: Callable[[Any], Any],
        array: Any,
        *,
        axis: int = 0,
        chunksize: Chunksize = "auto",
        progress: Any = False,
    ) -> None:
        """Call `fn` with blocks of `array` along `axis` that it may change in place; its results do not count.

        An array in shared memory (a `numpy.memmap`, a `zarr.Array`) is changed where it is; another one is copied there
        and back.
        A call that is killed half-way cannot be done again: `WorkerLostError` names its rows.

        Parameters as of `map_array`.

        Raises
        ------
        ConfigError
            `array` is not a writable array, holds objects, or has no such axis.
        """
        check_function("foreach_array", fn)
        backend = self._backend
        with backend.calling():
            found = file_array(array)
            if found is not None:
                check_changeable(found, backend)
            elif not isinstance(array, np.ndarray) or not array.flags.writeable:
                raise ConfigError("foreach_array changes its array in place: give it a writable numpy array")
            inputs = InputArrays("foreach_array", [array], axis, 0)
            parse_chunksize(chunksize)
            if inputs.rows == 0:
                return
            if found is None:
                allocate_mapped(array)
            inputs.hold(backend.places, backend.setup.native)
            unit = 1 if found is None else found.unit_shape[inputs.axis]
            cuts = inputs.blocks(chunksize, backend.setup.workers, unit)
            work = Work(fn, (), "each", inputs.axis, native=backend.setup.native)
            if backend.places.go_by_value:
                with sending(self.results, "foreach_array", inputs, cuts[0], chunksize, progress) as sender:
                    change_rows(sender, work, array if found is None else found)
                return
            work = replace(work, inputs=inputs.addresses(backend.places))
            run_job(backend, "foreach_array", work, inputs, cuts, progress)
            if found is None and not backend.places.reaches(array):
                array[...] = inputs.arrays[0]


def _map_nothing(fn: Callable[..., Any], inputs: InputArrays, out: Any, output: Output, native: bool) -> Any:
    made = plain_array(fn(*inputs.whole(native)), "the function returned")
    if out is not None and not isinstance(out, str | os.PathLike):
        if out.shape != made.shape:
            raise ConfigError(f"out has shape {out.shape}; the function's results need {made.shape}")
        return out
    target, _ = output.make(Work(fn, (), "first"), 1)(made, min(inputs.axis, made.ndim - 1))
    target[...] = made
    return output.finish(out)
