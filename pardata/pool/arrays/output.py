"""The output of `map_array`, from the first block's result to the end."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from pardata.data.file_array import FileArray
from pardata.data.new_file import NewFile, check_replaceable
from pardata.data.registry import file_array, new_file, output_endings
from pardata.errors import ConfigError
from pardata.memory.disk import create_new, naming
from pardata.memory.dtypes import check_npy
from pardata.memory.plain import plain_array
from pardata.pool.arrays.addresses import Places, allocate_mapped, overlap
from pardata.pool.arrays.going_on import ArrayCheckpoint
from pardata.pool.arrays.inputs import InputArrays
from pardata.pool.arrays.rows import Array, result_shape, writing
from pardata.pool.arrays.work import Work

_NEW_CHUNK_BYTES: Final = 4 << 20  # of the input, for a chunk of a new file: as the formats' own advice, 1 MB and more


class Output:
    """The output of `map_array`: a new shared array, an array of the user's, or a file that appears at the end."""

    def __init__(self, places: Places, out: Any, inputs: InputArrays, dtype: Any, compression: Any) -> None:
        self.going_on: ArrayCheckpoint | None = None
        self._places = places
        self._inputs = inputs
        self._dtype = _checked_dtype(dtype)
        self._path: str | None = None
        self._new: NewFile | None = None
        self._given: Any = None
        self._target: Any = None
        self._partial: str | None = None
        self._mode = 0o644
        if isinstance(out, str | os.PathLike):
            self._name(os.fspath(out), compression)
        elif out is not None:
            self._given = _checked_out(out, inputs)
            if self._dtype is not None and self._dtype != self._given.dtype:  # None equals float64
                raise ConfigError(f"out is of {self._given.dtype}, dtype={self._dtype} was asked for: give one of them")

        if compression is not None and self._new is None:
            raise ConfigError(f"compression={compression!r} goes with out= as the path of a new .h5 or .tif file")

    def _name(self, path: str, compression: Any) -> None:
        """Take in the path of a new file."""
        self._new = new_file(path, compression=compression)
        if self._new is not None:
            self._new.check_free()
            return
        if not path.endswith(".npy"):
            raise ConfigError(f"out must be an array or the path of a {output_endings()} or .npy file, not {path!r}")
        check_replaceable(path, _new_partial(path))
        if self._dtype is not None:
            check_npy(self._dtype, f"out={path!r}")
        self._path = path

    @property
    def unit(self) -> int:
        """The entries that only one worker may write: those of a chunk or shard along any axis that may be meant."""
        given, inputs = self._given, self._inputs
        if not isinstance(given, FileArray):
            return 1
        axes = {inputs.axis, inputs.axis - len(inputs.arrays[0].shape) + given.ndim}
        return math.lcm(
            *(given.unit_shape[axis] for axis in axes if 0 <= axis < given.ndim and given.shape[axis] == inputs.rows)
        )

    @property
    def least_bytes(self) -> int:
        """Of the input, for a call: its result becomes a chunk of a new file."""
        return 0 if self._new is None else _NEW_CHUNK_BYTES

    @property
    def has_one_writer(self) -> bool:
        """Return whether the workers' results are to be written by this process: no other one may open the file."""
        found = self._given if self._new is None else self._new
        return isinstance(found, FileArray | NewFile) and not self._places.may_write(found)

    def make(self, work: Work, block: int) -> Callable[[Array, int], tuple[Any, Work]]:
        """Return a function that makes the output when it gets the first block's result and its axis.

        A new file has chunks of `block` entries along that axis.
        """

        def make_out(first: Array, axis: int) -> tuple[Any, Work]:
            shape = result_shape(first, axis, self._inputs.rows)
            dtype = self._dtype or first.dtype
            if self._given is not None:
                dtype = self._given.dtype
                if self._given.shape != shape:
                    raise ConfigError(f"out has shape {self._given.shape}; the function's results need {shape}")
            if first.dtype.hasobject:
                raise ConfigError("the function returned Python objects: use map for these")
            if not np.can_cast(first.dtype, dtype, "same_kind"):
                raise ValueError(f"the function returned {first.dtype}, which does not fit the output's {dtype}")
            if self._path is not None:
                check_npy(dtype, f"out={self._path!r}")
            self._target = self._place(shape, dtype, result_shape(first, axis, max(1, block)))
            exact = self._given is None and self._dtype is None
            address = None if self.has_one_writer else self._places.address(self._target)
            return self._target, writing(work, address, axis, exact)

        return make_out

    def go_on(self, work: Work) -> Work:
        """Return the work for the rows that are missing in a file that was begun before this call."""
        going_on = self.going_on
        assert going_on is not None and going_on.place is not None
        self._partial = going_on.part
        self._mode = os.stat(self._partial).st_mode & 0o777
        self._target = np.lib.format.open_memmap(self._partial, "r+")
        allocate_mapped(self._target, self._path)
        return writing(work, self._places.address(self._target), going_on.place, going_on.exact)

    def _place(self, shape: tuple[int, ...], dtype: np.dtype[Any], chunks: tuple[int, ...]) -> Any:
        if self._new is not None:
            return self._new.create(shape, dtype, tuple(max(1, length) for length in chunks))
        if self._path is not None:
            return self._begin_file(self._path, shape, dtype)
        out = self._given
        if isinstance(out, FileArray):
            return out
        if out is not None:
            allocate_mapped(out)
        # An output that overlaps an input is written at the end: a chunk that is done again needs the input unchanged.
        reaches = out is not None and self._places.reaches(out)
        if out is not None and reaches and not any(overlap(out, array) for array in self._inputs.arrays):
            return out
        return self._places.empty(shape, dtype)

    def _begin_file(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array over a new file beside `path`, with a place on the disk for all of it."""
        self._partial = _new_partial(path)
        if self.going_on is not None:
            self._partial = self.going_on.part
        with naming(path):
            fd = create_new(self._partial)
            self._mode = os.fstat(fd).st_mode & 0o777  # that which the user's umask gives
            os.close(fd)
            made = np.lib.format.open_memmap(self._partial, "w+", dtype, shape)
        allocate_mapped(made, path)
        return made

    def finish(self, out: Any) -> Any:
        """Return the result for the user; `out` is the user's argument."""
        target = self._target
        if self._new is not None:
            self._new.commit()
            return self._new.open()
        if self._path is not None:
            assert isinstance(target, np.memmap) and self._partial is not None
            with naming(self._path):
                target.flush()
            os.chmod(self._partial, self._mode)
            if self.going_on is not None:
                self.going_on.finish()
            else:
                os.replace(self._partial, self._path)
            self._partial = None
            return np.load(self._path, mmap_mode="r+")
        if self._given is None:
            return self._inputs.named(target)
        if target is not self._given:
            self._given[...] = target
        return out

    def discard(self) -> None:
        """Remove a file that was begun, unless another call is to go on with it."""
        if self._new is not None:
            self._new.discard()
        if self.going_on is not None:
            self.going_on.leave()
            self.going_on.close()
        elif self._partial is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._partial)


def _new_partial(path: str) -> str:
    """Return a name for a file beside `path`."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}{secrets.token_hex(4)}.npy")


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


def _checked_out(out: Any, inputs: InputArrays) -> Any:
    rows = inputs.rows
    found = file_array(out)
    if found is not None:
        return _checked_file(found, inputs)
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ConfigError("out must be writable, and this array is read-only")
    if not isinstance(out, np.ndarray) or rows not in out.shape or not out.flags.writeable or out.dtype.hasobject:
        what = f"an array of shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ConfigError(f"out must be a writable array of {rows} rows without objects, not {what}")
    return plain_array(out, "out is")


def _checked_file(out: FileArray, inputs: InputArrays) -> FileArray:
    if out.writers == "none":
        raise ConfigError(f"out={out.location} is open for reading: {out.way_to_write}")
    if inputs.rows not in out.shape:
        raise ConfigError(f"out must have {inputs.rows} rows, and {out.location} has shape {out.shape}")
    if any(isinstance(array, FileArray) and array.location == out.location for array in inputs.arrays):
        raise ConfigError(
            f"out={out.location} is an input too: a call that is done again, after its worker was killed, would find "
            f"it changed. Write to another array, or change this one by foreach_array"
        )
    return out
