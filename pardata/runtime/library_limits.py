"""A worker sets up its process: its share of the cores for libraries, and how soon memory goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import math
import os
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Final

import numpy as np

from pardata.memory.cgroups import own_groups, quota_cores
from pardata.process.environment import limit
from pardata.process.system import libc
from pardata.runtime.thread_calls import tell_threads

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "TIFFFILE_NUM_THREADS",
)

KEEP_VARIABLE: Final = "PARDATA_KEEP_FREED_MEMORY"
_MALLOC_VARIABLES: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

# mallopt(3). 32 MiB is the largest threshold glibc takes. NumPy's temporaries of 512 KiB and more otherwise go back to
# the system and are faulted in again at every call: 3.5 times slower element-wise work, measured.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MMAP_BYTES: Final = 32 << 20
_TRIM_BYTES: Final = 256 << 20


_share: int | None = None  # of a worker process
_share_of_thread: ContextVar[int | None] = ContextVar("pardata_share_of_cores", default=None)


def own_share() -> int | None:
    """Return the cores of the worker that the calling code runs in; None outside of workers."""
    share = _share_of_thread.get()
    return _share if share is None else share


def usable_cores() -> int:
    """Return the cores that the calling code may use: the share of its worker, outside of workers those of the process.

    These are its affinity, and its cgroups' quota where there is one, rounded up. From Python 3.13 on a user can say
    otherwise, by ``-X cpu_count`` or ``PYTHON_CPU_COUNT``.
    """
    share = own_share()
    if share is not None:
        return share
    asked = _asked_cores()
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = quota_cores(own_groups("cpu"))
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def _asked_cores() -> int | None:
    """Return the number of cores that Python was told to see, None: it was not told."""
    if sys.version_info < (3, 13):
        return None
    told = sys._xoptions.get("cpu_count")
    if told is None and not sys.flags.ignore_environment:
        told = os.environ.get("PYTHON_CPU_COUNT")
    return None if told in (None, "", "default") else os.process_cpu_count()


def share_cores(workers: int) -> int:
    """Return the cores that each of so many workers of the calling code may use, at least one."""
    return max(1, usable_cores() // max(1, workers))


def limit_thread(cores: int) -> None:
    """Give the worker that this thread is its share. Libraries do not know it: all threads of a process share them."""
    _share_of_thread.set(cores)


def limit_process(cores: int, given: Mapping[str, str]) -> None:
    """Give this worker process its share: Python counts `cores` cores, and numerical libraries use as many threads.

    What the user's environment says of threads is left alone. The process may run on any core, so those that others
    leave idle are used.
    """
    global _share
    _share = cores
    os.cpu_count = lambda: cores
    if sys.version_info >= (3, 13):
        os.process_cpu_count = os.cpu_count
        limit("PYTHON_CPU_COUNT", str(cores))  # for Pythons that are started here
    for variable in THREAD_VARIABLES:
        if variable not in given:
            limit(variable, str(cores))
    tell_threads(cores, given)
    if "OPENBLAS_NUM_THREADS" in given or "OMP_NUM_THREADS" in given:
        return
    for threads, set_threads in numpys_openblas():  # it is loaded already, with one thread: see `process.launcher`
        if threads() != cores:  # else it would set all of its threads up anew after the fork
            set_threads(cores)


@cache
def numpys_openblas() -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    """Return the functions that tell and set the threads of NumPy's own OpenBLAS, if it has one."""
    libraries = os.path.join(os.path.dirname(np.__file__), os.pardir, "numpy.libs", "libscipy_openblas*")
    found: list[tuple[Callable[[], int], Callable[[int], object]]] = []
    for path in glob.glob(libraries):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            found.append((library.scipy_openblas_get_num_threads64_, library.scipy_openblas_set_num_threads64_))
    return found


def bytes_to_keep(given: Mapping[str, str]) -> int:
    """Return how many bytes of freed memory a worker may keep for its next arrays.

    The user's environment can say 0: by glibc's own variables, or by ``PARDATA_KEEP_FREED_MEMORY=0``.
    """
    if given.get(KEEP_VARIABLE) == "0" or any(variable in given for variable in _MALLOC_VARIABLES):
        return 0
    return 0 if "glibc.malloc." in given.get("GLIBC_TUNABLES", "") else _TRIM_BYTES


def keep_freed_memory(given: Mapping[str, str]) -> None:
    """Have glibc keep freed memory for the next temporary of this process, unless the user says otherwise."""
    if not bytes_to_keep(given):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = libc().mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
