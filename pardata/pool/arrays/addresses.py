"""The addresses of a job's arrays: in the segment, in a file, or of an object that reads its rows itself.

An address is picklable; a worker opens it and has the array, without a copy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np

from pardata.data.file_array import FileArray
from pardata.data.new_file import NewFile
from pardata.memory.array import find_anchor, find_named, is_in
from pardata.memory.byte_order import native_array
from pardata.memory.data_pointer import data_pointer
from pardata.memory.disk import allocate, missing_bytes
from pardata.memory.exchange.addresses import open_address
from pardata.memory.layout import bounds
from pardata.memory.mapped import FileAddress, file_address, is_mapped, mapping_of
from pardata.memory.segment import Segment
from pardata.memory.shared_heap import new_array, shared_copy, shared_heap
from pardata.pool.arrays.work import ArrayRef

Array = np.ndarray[Any, Any]


class RowReader(Protocol):
    """Rows that are read where they are needed, page by page: a file, for instance. Pickles as a recipe."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def page_rows(self) -> int:
        """Rows per page: chunks end where pages end."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return an array of these rows."""


class ArrayAddress(NamedTuple):
    """The place of an array in the segment; valid while the main process holds the array."""

    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def open(self, segment: Segment) -> Any:
        return np.ndarray(self.shape, self.dtype, segment.map, self.offset, self.strides)


@dataclass(frozen=True)
class MappedAddress:
    """The place of an array in a file that is mapped."""

    address: FileAddress

    def open(self, segment: Segment) -> Any:
        return self.address.open()


@dataclass(frozen=True)
class NamedAddress:
    """The place of an array in a named block, which workers attach to."""

    name: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def open(self, segment: Segment) -> Any:
        return np.ndarray(self.shape, self.dtype, open_address(self.name), self.offset, self.strides)


class LocalRef(NamedTuple):
    """In place of an address, the object itself: an array of a thread, or a `RowReader`."""

    array: Any

    def open(self, segment: Segment) -> Any:
        return self.array


def array_here(address: ArrayRef) -> Any:
    """Return the array at an address of this process's `LocalPlaces`."""
    assert isinstance(address, LocalRef)
    return address.array


def is_paged(array: object) -> TypeGuard[RowReader]:
    """Return whether an object is a `RowReader`."""
    return not isinstance(array, np.ndarray) and hasattr(array, "page_rows")


def is_shared(array: Array) -> bool:
    """Return whether an array lies in the segment."""
    block = find_anchor(array)
    return block is not None and is_in(block, shared_heap().segment.map)


def _start(array: Array) -> int:
    return data_pointer(array)


def allocate_mapped(array: Array, path: str | None = None) -> None:
    """Have a place on the disk for all of an array that lies in a file and is about to be written to.

    Raises `OSError` about `path` (the file's own if not given) if there is no place: a process that writes to a page
    without one is killed by SIGBUS.
    """
    if not array.size or not is_mapped(array):
        return
    address = file_address(array, True)
    assert address is not None
    own = address.file[0]
    low, high = bounds(address.shape, address.strides, address.dtype.itemsize)
    fd = os.open(own, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    try:
        if missing_bytes(fd):
            allocate(fd, high - low, path or own, address.offset + low)
    finally:
        os.close(fd)


def address_of(array: Any) -> ArrayRef:
    """Return the address of an array that lies in the segment, in a named block or in a mapped file."""
    if is_paged(array):
        return LocalRef(array)
    if is_mapped(array):
        mapped = file_address(array, True)
        assert mapped is not None
        return MappedAddress(mapped)
    named = find_named(array)
    if named is not None:
        return NamedAddress(named.name, _start(array) - _start(named), array.dtype, array.shape, array.strides)
    memory = np.frombuffer(shared_heap().segment.map, np.uint8, 1)
    return ArrayAddress(_start(array) - _start(memory), array.dtype, array.shape, array.strides)


class Places(Protocol):
    """The places where workers get at arrays; `go_by_value`: they do not, rows are sent there and back."""

    go_by_value: bool

    def hold(self, array: Any, native: bool) -> Any: ...
    def reaches(self, array: Array) -> bool: ...
    def address(self, array: Any) -> ArrayRef: ...
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array: ...
    def may_write(self, file: FileArray | NewFile) -> bool: ...


class SharedPlaces:
    """The places of worker processes: the segment, named blocks and mapped files."""

    go_by_value = False

    def hold(self, array: Any, native: bool) -> Any:
        """Return `array`, or a copy of it, where workers can get at it; which is converted if `native`."""
        if isinstance(array, FileArray):
            array.check_sendable()
        if is_paged(array) or self.reaches(array):
            return array
        made = native_array(array, self.empty) if native else array
        return made if self.reaches(made) else shared_copy(shared_heap().arena, made)

    def reaches(self, array: Array) -> bool:
        """Return whether workers can write to `array`."""
        return is_shared(array) or is_mapped(array) or find_named(array) is not None

    def address(self, array: Any) -> ArrayRef:
        """Return the address of an array that `hold` has returned; valid while that is held."""
        return address_of(array)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array that the workers see: in a nested pool they do not see one of `pardata.empty`."""
        made: Array = new_array(shared_heap().arena, shape, dtype)
        return made

    def may_write(self, file: FileArray | NewFile) -> bool:
        """Return whether workers may write to an array in a file, each to its own chunks."""
        return file.writers == "many"


class LocalPlaces:
    """The places of threads: an array is its own address."""

    go_by_value = False

    def hold(self, array: Any, native: bool) -> Any:
        return array

    def reaches(self, array: Array) -> bool:
        return True

    def address(self, array: Any) -> ArrayRef:
        return LocalRef(array.view() if isinstance(array, np.ndarray) else array)  # a worker makes it read-only

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        return np.empty(shape, dtype)

    def may_write(self, file: FileArray | NewFile) -> bool:
        return file.writers in ("one", "many")


class HomePlaces(LocalPlaces):
    """The places of a pool past one machine: all arrays stay at home, and so do files, which this process writes."""

    go_by_value = True

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return an array in shared memory, as pools on one machine do."""
        made: Array = new_array(shared_heap().arena, shape, dtype)
        return made

    def may_write(self, file: FileArray | NewFile) -> bool:
        return False


def overlap(out: Array, array: Any) -> bool:
    """Return whether writing to `out` may change `array`."""
    if not isinstance(array, np.ndarray):
        return False
    one, other = mapping_of(out), mapping_of(array)
    if one is not None and other is not None and one is not other:
        return one.file[1:3] == other.file[1:3]
    return bool(np.may_share_memory(out, array))
