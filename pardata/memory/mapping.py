"""Mappings of shared memory: advice to the system, and the errors for its refusals."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import mmap
import os
import sys
from typing import Any, Final

from pardata.errors import CapacityError
from pardata.process.capacity import lacks_descriptors, refusal
from pardata.process.system import module

resource: Any = module("resource")

_MOST_MAPPINGS: Final = "/proc/sys/vm/max_map_count"
_OWN_MAPPINGS: Final = "/proc/self/maps"
_TRACKS_DESCRIPTORS: Final = sys.version_info < (3, 13)
_NO_RESERVE: Final = 0x4000  # MAP_NORESERVE
_FIXED: Final = 0x10  # MAP_FIXED
_FIXED_NOREPLACE: Final = 0x100000  # MAP_FIXED_NOREPLACE
_FAILED: Final = ctypes.c_void_p(-1).value  # MAP_FAILED
_PIECE: Final = bytearray(1 << 12)  # of that list: made ahead, since without mappings no memory may be left
_NEAR: Final = 64  # mappings: a refusal with so few left counts as a lack of them, as a new one may split others


def advise(memory: mmap.mmap, advice: str, *place: int) -> None:
    """Advise the system on a mapping, or on a range of it (offset, bytes); `advice` is a name in the module `mmap`.

    A refusal is ignored: a kernel may be built without that feature, or have no more mappings to give.
    """
    try:  # `contextlib.suppress` would take as long as the call
        memory.madvise(getattr(mmap, advice), *place)
    except (AttributeError, OSError):
        pass


def keep_out_of_dumps(memory: mmap.mmap) -> None:
    """Leave a mapping out of the core file of a crash.

    The kernel would walk all of it, and to read a page of shared memory that nobody has written is to allocate it: the
    dump of a small worker took gigabytes of memory and of disk.
    """
    advise(memory, "MADV_DONTDUMP")


def map_untracked(fd: int, nbytes: int, offset: int = 0, *, is_private: bool = False) -> mmap.mmap:
    """Map a part of a file for reading and writing, without keeping a descriptor of it. Raises `OSError`.

    `is_private`: what is written stays in this process and the children that it forks later.
    """
    sharing = mmap.MAP_PRIVATE | _NO_RESERVE if is_private else mmap.MAP_SHARED
    if not _TRACKS_DESCRIPTORS:
        return mmap.mmap(fd, nbytes, sharing, offset=offset, trackfd=False)  # type: ignore[call-arg, unused-ignore]
    # An anonymous mapping, which has no descriptor, and the file's pages in its place.
    made = mmap.mmap(-1, nbytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    address = address_of(made)
    access = mmap.PROT_READ | mmap.PROT_WRITE
    if _libc().mmap(address, nbytes, access, sharing | _FIXED, fd, offset) != address:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} while mapping {nbytes} bytes")
    return made


def map_aligned(fd: int, nbytes: int, alignment: int) -> mmap.mmap:
    """Map a file, at a multiple of `alignment` if the system lets it lie there. Raises `OSError`.

    The system puts a mapping at the upper end of a gap. So what is too much at that end is taken for a moment.
    """
    made = mmap.mmap(fd, nbytes)
    begin = address_of(made)
    excess = begin % alignment
    if not excess:
        return made
    made.close()
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED_NOREPLACE
    taken = _libc().mmap(begin + nbytes - excess, excess, 0, kind, -1, 0)
    try:
        return mmap.mmap(fd, nbytes)
    finally:
        if taken != _FAILED:
            _libc().munmap(taken, excess)


def address_of(memory: mmap.mmap) -> int:
    """Return where a writable mapping begins."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def protect(address: int, nbytes: int, is_read_only: bool) -> None:
    """Allow or forbid writing to whole pages of this process. A refusal is ignored: mappings may be used up."""
    _libc().mprotect(address, nbytes, mmap.PROT_READ if is_read_only else mmap.PROT_READ | mmap.PROT_WRITE)


@functools.cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def mapping_error(error: OSError, nbytes: int) -> OSError | CapacityError:
    """Return the error to raise where a file for shared memory could not be opened, sized or mapped.

    A limit of the system becomes a `CapacityError` that names it; any other error is returned as it is.
    """
    if error.errno == errno.EFBIG:
        return CapacityError(
            f"{nbytes} bytes of shared memory are a file to the system, and this process may make files of at most "
            f"{_limit(resource.RLIMIT_FSIZE)} bytes (`ulimit -f`): raise that limit. Such a file takes memory only "
            f"where something was written"
        )
    if lacks_descriptors(error):
        return refusal(error.errno or errno.EMFILE, "shared memory", 2)
    if error.errno != errno.ENOMEM:
        return error
    used, most = _mappings(), _read_int(_MOST_MAPPINGS)
    if used + _NEAR > most > 0:
        return CapacityError(
            f"{nbytes} bytes of shared memory cannot be mapped: this process has {used} mappings, and {most} are "
            f"allowed (`sysctl vm.max_map_count`). Let go of blocks, put several arrays into one, use pardata.empty, "
            f"whose arrays share one mapping, or raise that number"
        )
    limit_bytes = _limit(resource.RLIMIT_AS)
    if limit_bytes >= 0:
        return CapacityError(
            f"{nbytes} bytes of shared memory cannot be mapped ({error.strerror}): the addresses of this process are "
            f"limited to {limit_bytes} bytes (`ulimit -v`). Raise that limit: addresses that nobody writes to take no "
            f"memory"
        )
    return error


def _limit(which: int) -> int:
    return int(resource.getrlimit(which)[0])


def _read_int(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0  # unknown


def _mappings() -> int:
    """Return the number of mappings of this process, roughly where two threads ask at once.

    The list is read in pieces, as all of it may not fit in memory. A lock around the piece could be held at a fork.
    """
    count = 0
    with contextlib.suppress(OSError), open(_OWN_MAPPINGS, "rb", buffering=0) as file:
        while length := file.readinto(_PIECE):
            count += _PIECE.count(b"\n", 0, length)
    return count
