"""What all mappings of shared memory have in common: advice to the system, and what to tell a user when it refuses."""

from __future__ import annotations

import contextlib
import errno
import mmap
from typing import Any, Final

from pardata.errors import CapacityError
from pardata.process.system import module

resource: Any = module("resource")

_MOST_MAPPINGS: Final = "/proc/sys/vm/max_map_count"
_OWN_MAPPINGS: Final = "/proc/self/maps"
_CHUNK_BYTES: Final = 1 << 16
_NEAR: Final = 64  # mappings: a refusal with so few left is for want of them, as a new one may split others


def advise(memory: mmap.mmap, advice: str, *place: int) -> None:
    """Tell the system what a mapping (or a range of it: offset, bytes) is for; `advice` is a name in the module `mmap`.

    It may refuse, where a kernel was built without what is advised, or has no more mappings to give: nothing is lost.
    """
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(getattr(mmap, advice), *place)


def keep_out_of_dumps(memory: mmap.mmap) -> None:
    """Leave a mapping out of the core file of a crash.

    The kernel would walk all of it, and to read a page of shared memory that nobody has written is to allocate it: the
    dump of a small worker took gigabytes of memory and of disk.
    """
    advise(memory, "MADV_DONTDUMP")


def mapping_error(error: OSError, nbytes: int) -> OSError | CapacityError:
    """Return the error to raise where a file for shared memory could not have its size, or could not be mapped.

    A limit of the system has a name and can be raised; what else may be wrong is told as it is.
    """
    if error.errno == errno.EFBIG:
        return CapacityError(
            f"{nbytes} bytes of shared memory are a file to the system, and this process may make files of at most "
            f"{_limit(resource.RLIMIT_FSIZE)} bytes (`ulimit -f`): raise that limit. Such a file takes memory only "
            f"where something was written"
        )
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
        return 0  # the system does not tell


def _mappings() -> int:
    """Return how many mappings this process has. The list is read in pieces: there may be no memory for all of it."""
    count = 0
    with contextlib.suppress(OSError), open(_OWN_MAPPINGS, "rb", buffering=0) as file:
        while piece := file.read(_CHUNK_BYTES):
            count += piece.count(b"\n")
    return count
