"""Errors for the system's refusals of descriptors and processes: the need, the limit, and the remedy."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, Final

from pardata.errors import CapacityError, PlatformError
from pardata.process.interrupts import Uninterrupted
from pardata.process.system import module

resource: Any = module("resource")

_DESCRIPTORS: Final = (errno.EMFILE, errno.ENFILE, errno.ETOOMANYREFS)
_PROCESSES: Final = (errno.EAGAIN, errno.ENOMEM)
_NO_THREAD: Final = "can't start new thread"  # as Python says it, which tells no errno
_MANY: Final = 1 << 16


@contextlib.contextmanager
def explained(what: str, descriptors: int = 0) -> Iterator[None]:
    """Turn the system's refusal of a descriptor, a process or a thread into a `CapacityError`; else as `refusal`."""
    try:
        yield
    except RuntimeError as error:
        if _NO_THREAD not in str(error):
            raise
        raise refusal(errno.EAGAIN, f"a thread of {what}") from error
    except OSError as error:
        if error.errno is None or error.errno not in (*_DESCRIPTORS, *_PROCESSES):
            raise
        raise refusal(error.errno, what, descriptors) from error


@contextlib.contextmanager
def descriptors_for(what: str, descriptors: int) -> Iterator[None]:
    """As `explained`, for `what` is no process: EAGAIN and ENOMEM are left as they are."""
    try:
        yield
    except OSError as error:
        if not lacks_descriptors(error):
            raise
        raise refusal(error.errno or errno.EMFILE, what, descriptors) from error


@contextlib.contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn the system's refusal of what an import needs into a `CapacityError`; `what` needs it. It can be tried again.

    An import has one file, folder or library open at a time.
    """
    try:
        with explained(what, 1):
            yield
    except (ImportError, MemoryError) as error:
        number = errno.ENOMEM if isinstance(error, MemoryError) else _number_of(error)
        if number is None or isinstance(error, CapacityError):
            raise
        raise refusal(number, what, 1) from error


def check_descriptors(what: str, descriptors: int) -> None:
    """Raise `CapacityError`, as `refusal`, unless this process may open so many descriptors now.

    It is tried: a limit says nothing of what is open.
    """
    opened: list[int] = []
    with Uninterrupted(), descriptors_for(what, descriptors):
        try:
            opened.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
            opened += (os.dup(opened[0]) for _ in range(descriptors - 1))
        finally:
            for fd in opened:
                os.close(fd)


def _number_of(error: ImportError) -> int | None:
    """Return the number of the system's error of which the text tells: it is all that there is of a library in C."""
    return next((each for each in (*_DESCRIPTORS, *_PROCESSES) if os.strerror(each) in str(error)), None)


def lacks_descriptors(error: OSError) -> bool:
    """Return whether the system has refused a descriptor."""
    return error.errno in _DESCRIPTORS


def refusal(number: int, what: str, descriptors: int = 0) -> CapacityError:
    """Return the error for the system's error `number`.

    Parameters
    ----------
    what : str
        The thing that the system refused, as the subject of a sentence.
    descriptors : int
        The number of descriptors that it needs; 0: unknown.
    """
    if number in _DESCRIPTORS:
        return CapacityError(_descriptors(number, what, descriptors))
    return CapacityError(_processes(number, what))


def _descriptors(number: int, what: str, needed: int) -> str:
    if number == errno.ENFILE:
        return f"{what} needs file descriptors, and the whole system has no more of them (sysctl fs.file-max)"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    counted = "more file descriptors" if not needed else f"{needed} file descriptor{'s' * (needed > 1)}"
    return (
        f"{what} needs {counted}; this process has {_open_descriptors()} open and may have {soft}. Raise the limit "
        f"(`ulimit -n`; up to {hard} without the administrator), close files and connections, or use fewer workers, "
        f"stages or branches"
    )


def _processes(number: int, what: str) -> str:
    if number == errno.ENOMEM:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        limit = (
            "" if soft == resource.RLIM_INFINITY else f". A process may have {soft} bytes of addresses (`ulimit -v`)"
        )
        return f"{what} could not be started: the system has no memory for it ({os.strerror(number)}){limit}"
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    limit = "no limit" if soft == resource.RLIM_INFINITY else str(soft)
    return (
        f"{what} could not be started: the system refuses another process ({os.strerror(number)}). This user may have "
        f"{limit} with their threads (`ulimit -u`), and a container or a job may have fewer (pids.max of its cgroup): "
        "raise that, or use fewer workers"
    )


def descriptor_limit() -> int:
    """Return the number of descriptors that this process may have."""
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def limit_descriptors(count: int | None) -> None:
    """Set the limit of descriptors to `count`, or to the hard limit if that is less, or if `count` is None."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count is None or (hard != resource.RLIM_INFINITY and hard < count):
        count = hard
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def free_descriptors() -> int:
    """Return the number of descriptors that this process may open now; where nothing tells it, a large one."""
    try:
        return max(0, descriptor_limit() - _open_descriptors())
    except PlatformError:
        return _MANY


def _open_descriptors() -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/fd")) - 1  # that of the listing
    soft = descriptor_limit()
    return sum(_is_open(fd) for fd in range(min(soft, _MANY)))  # /proc cannot be read without a descriptor either


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
