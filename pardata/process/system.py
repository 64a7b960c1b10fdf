"""Facilities that only some operating systems have, and the one error for their absence.

Worker processes and shared memory need Linux. The engines "serial" and "threads", pools of threads and files do not,
and `import pardata` works wherever NumPy does: so no facility is asked for before it is needed.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final, NoReturn

from pardata.errors import PlatformError

HAS_SHARED_MEMORY: Final = sys.platform == "linux"

_MFD_CLOEXEC: Final = 1
_MFD_ALLOW_SEALING: Final = 2
_MFD_NOEXEC_SEAL: Final = 8  # kernels before 6.3 refuse it


def unsupported(what: str, needed: str = "Linux") -> NoReturn:
    """Raise `PlatformError` for a feature `what` that this system cannot have."""
    raise PlatformError(
        f"{what}: that needs {needed}; on {sys.platform} there are engine='threads', engine='serial', "
        f"WorkerPool(kind='thread') and files"
    )


def check_linux(what: str) -> None:
    """Raise `PlatformError` where there are no worker processes and no shared memory."""
    if not HAS_SHARED_MEMORY:
        unsupported(what)


@cache
def libc() -> Any:
    """Return the C library of this process, in which errors are not looked at."""
    import ctypes

    return ctypes.CDLL(None)


def memory_file(name: str, seals: bool = False) -> int:
    """Return a descriptor of a new nameless file in memory, close-on-exec; `seals`: it can be sealed later.

    A Python that was built for many Linux systems (those of conda and uv) may lack ``os.memfd_create``, which the C
    library has.
    """
    create = os.memfd_create if hasattr(os, "memfd_create") else _memfd_of_libc()
    flags = _MFD_CLOEXEC | (_MFD_ALLOW_SEALING if seals else 0)
    try:
        return create(name, flags | _MFD_NOEXEC_SEAL)
    except OSError:
        return create(name, flags)


def _memfd_of_libc() -> Callable[[str, int], int]:
    import ctypes

    functions = ctypes.CDLL(None, use_errno=True)

    def create(name: str, flags: int) -> int:
        fd = int(functions.memfd_create(name.encode(), ctypes.c_uint(flags)))
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd

    return create


def check_posix(what: str) -> None:
    """Raise `PlatformError` where files cannot be read and appended to as POSIX says."""
    if not hasattr(os, "pread"):
        unsupported(what, "a POSIX system")


_has_nothing = False  # this process has made nothing that a child would have to know of


def at_fork(**calls: Callable[[], object]) -> None:
    """Do as `os.register_at_fork`, where processes can fork; the fork server's forks leave the calls out."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**{when: partial(_call, call) for when, call in calls.items()})


def _call(call: Callable[[], object]) -> None:
    if not _has_nothing:
        call()


def say_nothing_is_inherited(so: bool) -> None:
    """Say whether this process is the fork server, which has no thread, lock, memory or connection of its own.

    What its children touch is copied, page by page: a fifth of the pages of a worker's start were those of the calls.
    """
    global _has_nothing
    _has_nothing = so


class _MissingModule:
    """A stand-in for a module of the standard library that this system lacks; its use raises `PlatformError`."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        unsupported(f"{self._name}.{attribute}")


def module(name: str) -> Any:
    """Return a module of the standard library; where it is missing, a stand-in whose use raises `PlatformError`."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:  # not of one that the system could not load, for want of memory or descriptors
        return _MissingModule(name)
