"""A worker sets up the libraries of its process: BLAS threads, and how soon memory goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import math
import os
import sys
from collections.abc import Mapping
from typing import Final

import numpy as np

from pardata.memory.cgroups import own_groups, quota_cores

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

KEEP_VARIABLE: Final = "PARDATA_KEEP_FREED_MEMORY"
_MALLOC_VARIABLES: Final = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")

# mallopt(3). 32 MiB is the largest threshold glibc takes. NumPy's temporaries of 512 KiB and more otherwise go back to
# the system and are faulted in again at every call: 3.5 times slower element-wise work, measured.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_MMAP_BYTES: Final = 32 << 20
_TRIM_BYTES: Final = 256 << 20


def usable_cores() -> int:
    """Return the cores this process may use: affinity, and its cgroups' quota where there is one, rounded up.

    From Python 3.13 on a user can say otherwise, by ``-X cpu_count`` or ``PYTHON_CPU_COUNT``.
    """
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


def limit_threads(threads: int, given: Mapping[str, str]) -> None:
    """Have numerical libraries use `threads` threads, except where the user's environment says otherwise."""
    for variable in THREAD_VARIABLES:
        if variable not in given:
            os.environ[variable] = str(threads)
    if "OPENBLAS_NUM_THREADS" in given or "OMP_NUM_THREADS" in given:
        return
    libraries = os.path.join(os.path.dirname(np.__file__), os.pardir, "numpy.libs", "libscipy_openblas*")
    for path in glob.glob(libraries):  # NumPy's own is loaded already, with one thread: see `process.launcher`
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(path).scipy_openblas_set_num_threads64_(threads)


def keep_freed_memory(given: Mapping[str, str]) -> None:
    """Have glibc keep freed memory for the next temporary of this process; elsewhere nothing.

    The user's environment can say otherwise: by glibc's own variables, or by ``PARDATA_KEEP_FREED_MEMORY=0``.
    """
    if given.get(KEEP_VARIABLE) == "0" or any(variable in given for variable in _MALLOC_VARIABLES):
        return
    if "glibc.malloc." in given.get("GLIBC_TUNABLES", ""):
        return
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
