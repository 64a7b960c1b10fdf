"""Arrays in a nameless file of their own, which any process of the user can open while its maker keeps it.

      maker:   draft -> fill -> seal                    (nobody can write to it, cut it or lengthen it afterwards)
      reader:  open /proc/<maker>/fd/<n> -> map -> views

The kernel counts the mappings: a reader needs no lease, may be killed at any moment, and keeps its arrays when the
maker lets go or ends. There is no name to be removed. The file, in bytes; only its maker writes, before the seal:

    0     8s magic | 24s tag, which a reader must know | q length of the head
    40    head: pickled (info, places); a place is (name, dtype, shape, offset in the file)
    ...   the arrays, each in C order at a multiple of 64
"""

from __future__ import annotations

import mmap
import os
import pickle
import struct
import weakref
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pardata.errors import BrokenError, CapacityError, StaleBlockError
from pardata.memory.budget import available_bytes, format_bytes
from pardata.memory.mapping import advise, keep_out_of_dumps, mapping_error
from pardata.memory.named.guardian import SHORTAGES
from pardata.process.system import HAS_SHARED_MEMORY, check_linux, memory_file, module

fcntl: Any = module("fcntl")

TAG_BYTES: Final = 24
_HEADER: Final = struct.Struct(f"<8s{TAG_BYTES}sq")
_MAGIC: Final = b"pdsealed"
_ALIGNMENT: Final = 64
_WHAT: Final = "tables and arrays in shared memory"
# By number, as not every Python has their names: F_ADD_SEALS; F_SEAL_SEAL, _SHRINK, _GROW, _WRITE.
_ADD_SEALS: Final = 1033
_SEALS: Final = 1 | 2 | 4 | 8

ArraySpecs = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]
Array = np.ndarray[Any, Any]


def shareable_file(name: str) -> tuple[int, str]:
    """Return a descriptor of a new empty file in memory, and the path by which other processes open it.

    Raises `CapacityError` if this process can open no more files.
    """
    check_linux(_WHAT)
    try:
        fd = memory_file(name, seals=True)
    except OSError as error:
        raise mapping_error(error, 0) from error
    return fd, f"/proc/{os.getpid()}/fd/{fd}"


def open_shareable(path: str) -> int:
    """Return a descriptor of another process's file.

    Raises `BrokenError` if its maker has ended or let it go, `CapacityError` if this process can open no more files.
    """
    try:
        # The number may belong to a pipe or a terminal of the maker by now: neither wait for it nor adopt it.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise mapping_error(error, 0) from error
        raise BrokenError(f"{path} is gone: the process that made it has ended or let it go ({error})") from error


def _align(value: int) -> int:
    return -(-value // _ALIGNMENT) * _ALIGNMENT


def _views(memory: mmap.mmap, layout: list[tuple[str, np.dtype[Any], tuple[int, ...], int]]) -> dict[str, Array]:
    return {name: np.ndarray(shape, dtype, memory, offset) for name, dtype, shape, offset in layout}


class Draft:
    """A sealed file in the making.

    Parameters
    ----------
    layout : name -> (dtype without objects, shape)
    info : object
        Any small object that can be pickled; readers get it.
    tag : bytes, `TAG_BYTES` of them
        A reader accepts a file with this tag only: the descriptor's number may be another file's by then.

    Attributes
    ----------
    arrays : name -> array, writable, zeros at first

    Raises
    ------
    CapacityError
        There is not enough memory.
    """

    def __init__(self, layout: ArraySpecs, info: object, tag: bytes) -> None:
        check_linux(_WHAT)
        offset, places = 0, []
        for name, (dtype, shape) in layout.items():
            places.append((name, dtype, shape, offset))
            offset += _align(int(np.prod(shape, dtype=object)) * dtype.itemsize)
        # The offsets stand in the head and depend on its length: a bound for it comes first.
        start = _align(_HEADER.size + len(pickle.dumps((info, places), 5)) + 9 * len(places))
        self._places = [(name, dtype, shape, start + offset) for name, dtype, shape, offset in places]
        head = pickle.dumps((info, self._places), 5)
        assert _HEADER.size + len(head) <= start
        self._info, self._size = info, start + offset
        if self._size > available_bytes():
            raise CapacityError(
                f"{format_bytes(self._size)} of shared memory are needed, but {format_bytes(available_bytes())} of "
                f"memory are available"
            )
        self._fd, self._path = shareable_file("pardata-table")
        self._finalizer = weakref.finalize(self, os.close, self._fd)
        try:
            os.ftruncate(self._fd, self._size)
            self._memory = mmap.mmap(self._fd, self._size)
        except OSError as error:
            raise mapping_error(error, self._size) from None
        keep_out_of_dumps(self._memory)
        advise(self._memory, "MADV_HUGEPAGE")
        self._memory[: _HEADER.size] = _HEADER.pack(_MAGIC, tag, len(head))
        self._memory[_HEADER.size : _HEADER.size + len(head)] = head
        self.arrays = _views(self._memory, self._places)

    def seal(self) -> SealedFile:
        """Make it read-only for all processes, this one included. The draft cannot be used any more."""
        self.arrays.clear()
        self._memory.close()
        try:
            fcntl.fcntl(self._fd, _ADD_SEALS, _SEALS)
        except OSError:
            pass  # a child forked just now has a writable mapping: then the seal, a safeguard only, is left out
        self._finalizer.detach()
        return SealedFile(self._fd, self._path, self._info, self._places, maker=True)


class SealedFile:
    """Arrays that never change.

    Attributes
    ----------
    arrays : name -> array, read-only
        Valid as long as they are held, whatever becomes of this object or of the maker.
    info : object
        The maker's description of the arrays.
    path : str
        The path by which other processes of the user open it while the maker keeps this object.
    """

    def __init__(
        self, fd: int, path: str, info: Any, places: list[tuple[str, np.dtype[Any], tuple[int, ...], int]], maker: bool
    ) -> None:
        self.path = path
        self.info = info
        self.nbytes = os.fstat(fd).st_size
        try:
            memory = mmap.mmap(fd, self.nbytes, prot=mmap.PROT_READ)
        except OSError as error:
            raise mapping_error(error, self.nbytes) from None
        keep_out_of_dumps(memory)
        self.arrays = _views(memory, places)
        if maker:
            weakref.finalize(self, os.close, fd)
        else:
            os.close(fd)

    @classmethod
    def open(cls, path: str, tag: bytes) -> SealedFile:
        """Open another process's file.

        Raises
        ------
        BrokenError
            Its maker has ended or let it go.
        StaleBlockError
            There is something else at `path` by now.
        """
        fd = open_shareable(path)
        try:
            magic, found, length = _HEADER.unpack(os.pread(fd, _HEADER.size, 0))
            if magic != _MAGIC or found != tag:
                raise struct.error
            info, places = pickle.loads(os.pread(fd, length, _HEADER.size))
        except (struct.error, OSError) as error:
            os.close(fd)
            raise StaleBlockError(f"{path} is not what it was: its maker has let go of it") from error
        return cls(fd, path, info, places, maker=False)

    def __repr__(self) -> str:
        return f"<SealedFile {self.path}, {format_bytes(self.nbytes)}: {', '.join(self.arrays)}>"


class SealedHandle:
    """A sealed file that pickles as its address, and is opened in another process when it is asked for its arrays."""

    def __init__(self, path: str, tag: bytes, file: SealedFile | None = None) -> None:
        self._path = path
        self._tag = tag
        self._file = file

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> SealedHandle:
        """Return the handle of copies of some arrays. Raises `CapacityError` as `Draft`."""
        if not HAS_SHARED_MEMORY:
            return _Copies(arrays)
        tag = os.urandom(TAG_BYTES)
        draft = Draft({name: (array.dtype, array.shape) for name, array in arrays.items()}, None, tag)
        for name, array in arrays.items():
            draft.arrays[name][...] = array
        file = draft.seal()
        return cls(file.path, tag, file)

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays, read-only. Raises `BrokenError` if their maker has let them go."""
        if self._file is None:
            self._file = SealedFile.open(self._path, self._tag)
        return self._file.arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return SealedHandle, (self._path, self._tag)


class _Copies(SealedHandle):
    """A stand-in for a sealed file where there is no shared memory: copies in this process, which pickle by value."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = {name: np.array(array) for name, array in arrays.items()}
        for array in self._arrays.values():
            array.setflags(write=False)

    @property
    def arrays(self) -> dict[str, Array]:
        return self._arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return _Copies, (self._arrays,)
