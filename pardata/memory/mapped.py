"""Arrays in mapped files: their addresses, by which another process opens the same part of the file.

`numpy.memmap` knows the name of its file. By that name the file is opened, if it is still the file that is mapped: it
may have been removed or replaced since. A process maps each file once for all arrays that it receives of it.
"""

from __future__ import annotations

import mmap
import os
import threading
import warnings
import weakref
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from pardata.errors import StaleBlockError
from pardata.memory.array import Anchor
from pardata.memory.data_pointer import data_pointer
from pardata.memory.layout import bounds
from pardata.process.system import at_fork

Array = np.ndarray[Any, Any]
File = tuple[str, int, int, str]  # path, device, inode and mode
Stamp = tuple[int, int]  # size of a file in bytes, and time of its last write in ns

_MAPS: Final = "/proc/self/maps"
_GONE: Final = (-1, -1)  # instead of device and inode
_ACCESS: Final = {"r": mmap.ACCESS_READ, "r+": mmap.ACCESS_WRITE, "c": mmap.ACCESS_COPY}


class FileAddress(NamedTuple):
    """The address of an array in a file.

    Attributes
    ----------
    file : (path, device, inode, mode)
        `mode` as that of `numpy.memmap`, with "r+" for "w+": later openers must not empty the file.
    stamp : Stamp, optional
        The file must not have changed since.
    offset : int, bytes
        Of the first entry in the file.
    """

    file: File
    stamp: Stamp | None
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    writable: bool

    def open(self) -> Array:
        """Return the array. Raises `StaleBlockError` if the file is gone or has changed."""
        end = self.offset + bounds(self.shape, self.strides, self.dtype.itemsize)[1]
        return self.view(_memory(self.file, self.stamp, end))

    def view(self, memory: mmap.mmap) -> Array:
        """Return the array in a mapping of the whole file."""
        made: Array = np.ndarray(self.shape, self.dtype, memory, self.offset, self.strides)
        made.setflags(write=self.writable)
        return made


@dataclass(eq=False)
class _Mapping:
    """A mapped file of this process."""

    file: File
    start: int  # address at which the file would begin if all of it were mapped
    is_live: bool = False  # rows are read as they are at the moment, whatever is written to the file meanwhile
    is_told: bool = False  # the warning that the file is gone was given

    def stat(self) -> os.stat_result | None:
        """Return the status of the file; None if another one, or none, has its name now."""
        try:
            found = os.stat(self.file[0])
        except OSError:
            return None
        return found if (found.st_dev, found.st_ino) == self.file[1:3] else None


_lock = threading.RLock()
_mappings: weakref.WeakKeyDictionary[mmap.mmap, _Mapping | None] = weakref.WeakKeyDictionary()
_opened: weakref.WeakValueDictionary[File, mmap.mmap] = weakref.WeakValueDictionary()


def _forget() -> None:
    global _lock
    _lock = threading.RLock()  # a thread of the parent may have had it


at_fork(after_in_child=_forget)


def mapping_of(array: Array) -> _Mapping | None:
    """Return the mapped file that `array` lies in; None if it lies in none whose name is known."""
    found: Any = array
    while isinstance(found.base, np.ndarray):
        found = found.base
    memory = found.base
    if type(memory) is not mmap.mmap or type(found) is Anchor:
        return None
    with _lock:
        if memory not in _mappings:
            if not isinstance(found, np.memmap):
                return None
            _mappings[memory] = _look_up(found, memory)
        return _mappings[memory]


def _look_up(array: np.memmap[Any, Any], memory: mmap.mmap) -> _Mapping | None:
    """Find the file of a mapping that NumPy has made; None if it has no name."""
    if not isinstance(array.filename, str | os.PathLike):
        return None
    path = os.path.abspath(str(array.filename))
    mode = "r+" if array.mode == "w+" else str(array.mode)
    start = data_pointer(array) - array.offset  # not Linux: the best guess
    try:
        name, start = _named(data_pointer(np.frombuffer(memory, np.uint8, 1)))
        found = os.stat(path) if name == os.path.realpath(path) else None
    except FileNotFoundError:
        found = os.stat(path) if not os.path.exists(_MAPS) and os.path.exists(path) else None
    device, inode = (found.st_dev, found.st_ino) if found is not None else _GONE
    return _Mapping((path, device, inode, mode), start)


def _named(address: int) -> tuple[str, int]:
    """Return the present path of the file that is mapped at an address, and the address at which it would begin.

    Behind the path of a deleted file the kernel writes so.
    """
    with open(_MAPS, errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            first, last = (int(bound, 16) for bound in fields[0].split("-"))
            if first <= address < last:
                return (fields[5].replace("\\012", "\n") if len(fields) == 6 else ""), first - int(fields[2], 16)
    raise FileNotFoundError


def is_mapped(array: Array) -> bool:
    """Return whether a write to `array` is seen by other processes that open the file in which it lies."""
    mapping = mapping_of(array)
    return mapping is not None and mapping.file[3] != "c" and mapping.stat() is not None


def file_address(array: Array, is_lasting: bool) -> FileAddress | None:
    """Return the address of `array` in a file; None if it is to go by value.

    Parameters
    ----------
    is_lasting : bool
        True: the array stays the caller's, as an argument does; a file that can be written is opened for writing.
        False: the contents of this moment are to arrive; only a file that was opened for reading is opened by its name,
        and must not change on the way.
    """
    mapping = mapping_of(array)
    if mapping is None:
        return None
    mode = mapping.file[3]
    if not is_lasting and mode != "r":
        return None
    known = mapping.stat()
    if known is None:
        _tell_once(mapping)
        return None
    if mode == "c" and not _is_untouched(array, mapping):
        return None
    stamp = None if is_lasting or mapping.is_live else (known.st_size, known.st_mtime_ns)
    offset = data_pointer(array) - mapping.start
    return FileAddress(mapping.file, stamp, offset, array.dtype, array.shape, array.strides, array.flags.writeable)


def _tell_once(mapping: _Mapping) -> None:
    if not mapping.is_told:
        mapping.is_told = True
        warnings.warn(
            f"the file {mapping.file[0]!r} of a memmap is gone, or another one has its name now: the memmap is sent by "
            f"value, and other processes write nothing to its file",
            RuntimeWarning,
            stacklevel=2,
        )


def _is_untouched(array: Array, mapping: _Mapping) -> bool:
    """Return whether nothing was written to a private mapping (``mode="c"``) of a file."""
    pages = {"Anonymous:": 0, "Swap:": 0}
    position = -1
    try:
        with open("/proc/self/smaps", errors="surrogateescape") as maps:
            for line in maps:
                fields = line.split(maxsplit=5)
                if "-" in fields[0]:
                    position = int(fields[0].split("-")[0], 16) - int(fields[2], 16)
                elif fields[0] in pages and position == mapping.start:
                    pages[fields[0]] += int(fields[1])
    except OSError:
        return False
    return not any(pages.values())


def _memory(file: File, stamp: Stamp | None, end: int) -> mmap.mmap:
    """Return a mapping of a file that reaches `end` (bytes): the one that this process has, or a new one."""
    with _lock:
        known = _opened.get(file) if file[3] != "c" else None  # a private mapping has contents of its own
        if known is not None and len(known) >= end and stamp is None:
            return known
        try:
            with open(file[0], "r+b" if file[3] == "r+" else "rb") as opened:
                _check(file, os.fstat(opened.fileno()), stamp, end)
                if known is not None and len(known) >= end:
                    return known
                made = _mapped(file, opened, stamp is None)
        except OSError as error:
            raise StaleBlockError(f"the file {file[0]!r}, in which an array lies, cannot be opened: {error}") from error
        if file[3] != "c":
            _opened[file] = made
        return made


def _check(file: File, found: os.stat_result, stamp: Stamp | None, end: int) -> None:
    if (found.st_dev, found.st_ino) != file[1:3] or found.st_size < end:
        raise StaleBlockError(f"the file {file[0]!r}, in which an array lies, was replaced or cut meanwhile")
    if stamp is not None and stamp != (found.st_size, found.st_mtime_ns):
        raise StaleBlockError(
            f"the file {file[0]!r} was written to while an array that lies in it was on its way: hand on a copy, "
            f"numpy.array(...), of what is to change"
        )


def _mapped(file: File, opened: BinaryIO, is_live: bool) -> mmap.mmap:
    made = mmap.mmap(opened.fileno(), 0, access=_ACCESS[file[3]])
    _mappings[made] = _Mapping(file, data_pointer(np.frombuffer(made, np.uint8, 1)), is_live)
    return made


def read_only(array: np.memmap[Any, Any]) -> np.memmap[Any, Any]:
    """Return a read-only memmap of the same file, whatever the mode of `array`; `array` if it is to go by value.

    It shows later writes to the file.
    """
    address = file_address(array, True) if array.nbytes else None
    if address is None or address.file[3] == "c":
        return array
    file = (*address.file[:3], "r")
    with _lock, open(file[0], "rb") as opened:
        memory = _mapped(file, opened, True)
    made: np.memmap[Any, Any] = rebuild_memmap(
        address._replace(writable=False).view(memory), array.filename, array.offset, "r"
    )
    return made


def rebuild_memmap(array: Array, filename: Any, offset: Any, mode: Any) -> Any:
    """Return an array as a memmap; a copy that lies in no file gets no file name."""
    made: Any = np.ndarray.view(array, np.memmap)
    if mapping_of(array) is not None:
        memory: Any = array
        while isinstance(memory, np.ndarray):
            memory = memory.base
        made._mmap, made.filename, made.offset, made.mode = memory, filename, offset, mode
    return made
