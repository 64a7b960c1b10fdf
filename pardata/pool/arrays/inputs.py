"""The arrays of a job on arrays: checked, placed, and cut into blocks."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Sequence
from typing import Any, Final

from pardata.data.file_array import FileArray
from pardata.data.pages import step_of
from pardata.data.registry import file_array, with_names
from pardata.errors import ConfigError
from pardata.memory.byte_order import native_array
from pardata.memory.plain import plain_array
from pardata.pool.arrays.addresses import Places, is_paged
from pardata.pool.arrays.work import ArrayRef
from pardata.pool.jobs.chunking import BLOCK_BYTES, ChunkPolicy, parse_chunksize

_HALO_SHARE: Final = 8  # a call gets so many times its halo, if there are rows for all workers
_CALLS_PER_WORKER: Final = 4  # at least, of arrays that would fit into the caches of fewer


class InputArrays:
    """The arrays of a job, checked.

    Raises
    ------
    ConfigError
        One has no such axis, another length along it, or holds Python objects.
    """

    def __init__(self, what: str, arrays: Sequence[Any], axis: int, halo: int) -> None:
        self._given = arrays[0]
        self.arrays = [_checked(what, array) for array in arrays]
        first = self.arrays[0]
        ndim = len(first.shape)
        try:
            self.axis = operator.index(axis)
        except TypeError:
            dims = getattr(arrays[0], "dims", None)  # of xarray
            hint = f": it is axis={dims.index(axis)}" if isinstance(dims, tuple) and axis in dims else ""
            raise ConfigError(f"axis must be an int, not {axis!r}{hint}") from None
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
        self._pages = [_page(array, self.axis) for array in self.arrays if is_paged(array)]

    @property
    def nbytes(self) -> int:
        """Of the largest array."""
        return max(int(math.prod(array.shape) * array.dtype.itemsize) for array in self.arrays)

    def whole(self, native: bool) -> list[Any]:
        """Return the arrays as one block each."""
        blocks = [array[:] for array in self.arrays]
        return list(map(native_array, blocks)) if native else blocks

    def named(self, result: Any) -> Any:
        """Return a result with the names of the first array, if that is one of xarray and of the same shape."""
        return with_names(self._given, result)

    def hold(self, places: Places, native: bool) -> None:
        """Have every array where the workers can get at it; a copy that is made for that is converted, if `native`."""
        self.arrays = [places.hold(array, native) for array in self.arrays]

    def addresses(self, places: Places) -> tuple[ArrayRef, ...]:
        return tuple(places.address(array) for array in self.arrays)

    def blocks(
        self, chunksize: object, workers: int, unit: int = 1, least_bytes: int = 0
    ) -> tuple[int, ChunkPolicy, bool]:
        """Return the entries per call, how calls are put into chunks, and whether a call may be of fewer entries.

        An int or a size is the size of a call: chunks are several calls then. Otherwise blocks fit the cache.

        Parameters
        ----------
        unit : int
            The output's entries that only one worker may write: calls are of multiples of it.
        least_bytes : int
            A call gets so much, if there is enough for all workers: each makes a chunk of a file, which two calls of
            fewer entries would write to at a time.
        """
        policy = parse_chunksize(chunksize)
        if policy.kind == "fixed":
            block = int(policy.value)
            if block % unit and block < self.rows:
                raise ConfigError(
                    f"chunksize={block}: two workers would write to one chunk (or shard) of the output, which has "
                    f"{unit} entries along the axis: give a multiple of that"
                )
            return block, ChunkPolicy("auto"), False
        row_bytes = max(1, self.nbytes // max(1, self.rows))
        block = int(policy.value if policy.kind == "bytes" else BLOCK_BYTES) // row_bytes
        if policy.kind != "bytes":  # the cost of a row is not known: each worker gets several calls, if there are rows
            block = min(max(block, least_bytes // row_bytes), -(-self.rows // (_CALLS_PER_WORKER * workers)))
        block = max(1, block, min(_HALO_SHARE * self.halo, -(-self.rows // workers)))
        step = step_of(unit, self._pages)  # no two calls read the same page
        block = -(-block // step) * step
        return (
            min(block, self.rows),
            ChunkPolicy("auto") if policy.kind == "bytes" else policy,
            unit == 1 and not least_bytes,
        )


def _checked(what: str, array: Any) -> Any:
    if is_paged(array):
        return array
    found = file_array(array)
    if found is not None:
        if not found.ndim:
            raise ConfigError(f"{what} needs an array with at least one axis, and {found.location} is a single number")
        return found
    given = plain_array(array, f"{what} got")
    if given.ndim == 0:
        way = ": pardata.open(path) opens an array in a file" if isinstance(array, str | os.PathLike) else ""
        if isinstance(array, numbers.Number):
            way = f": what is no array goes into the function, as lambda rows: fn(rows, {array!r})"
        raise ConfigError(f"{what} needs an array or a list, with at least one axis, not {type(array).__name__}{way}")
    if given.dtype.hasobject:
        raise ConfigError(f"{what} cannot share an array of {given.dtype}: it holds Python objects")
    return given


def _page(array: Any, axis: int) -> int:
    """Return the entries along an axis that are read as a whole."""
    if isinstance(array, FileArray):
        return array.page_shape[axis]
    if axis:
        raise ConfigError("rows that are read page by page are cut along axis 0")
    return int(array.page_rows)
