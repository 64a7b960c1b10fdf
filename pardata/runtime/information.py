"""The surroundings of pardata on this machine: versions, limits, and what is switched on, or why it is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator

from pardata.channel import births
from pardata.channel.channel import CAN_ELIDE_WAKEUPS
from pardata.codec.ownership import sole
from pardata.memory.budget import available_bytes, format_bytes
from pardata.memory.cgroups import memory_left, own_groups, quota_cores
from pardata.process.capacity import descriptor_limit, free_descriptors
from pardata.process.environment import CHECK_VARIABLE, checks_writes
from pardata.process.system import HAS_SHARED_MEMORY, module
from pardata.runtime.library_limits import usable_cores

Facts = Iterator[tuple[str, str]]

_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
_SHM = "/dev/shm"
# By the name of what is imported: what pardata does with it.
_EXTRAS = {
    "crc32c": "files: faster check sums",
    "zstandard": "zstd: compressed files",
    "zarr": "zarr: stores as sources and outputs",
    "h5py": "hdf5: files as sources and outputs",
    "tifffile": "tiff: files as sources and outputs",
    "astropy": "fits: files as sources",
    "nibabel": "nifti: files as sources",
    "xarray": "netcdf: files as sources",
    "pydicom": "dicom: files as sources",
    "blosc2": "blosc2: files as sources and outputs",
    "tensorstore": "tensorstore: arrays as sources and outputs",
    "av": "video: films and sound as sources",
    "pyarrow": "parquet: tables as sources and outputs",
    "werkzeug": "http: look-ups over HTTP, dashboards",
    "joblib": "joblib: a backend for it",
    "distributed": "dask: runs and pools on its clusters",
    "ray": "ray: runs and pools on its clusters",
    "torch": "torch: loaders for training loops",
}


def information(version: str) -> dict[str, list[tuple[str, str]]]:
    """Return what there is to say, by heading; `version` is that of pardata."""
    return {
        "versions": [*_versions(version)],
        "limits": [*_limits()],
        "switched on": [*_switches()],
        "extras": [*_extras()],
    }


def _versions(version: str) -> Facts:
    yield "pardata", version
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    for name in ("numpy", "cloudpickle", "tqdm"):
        yield name, importlib.metadata.version(name)
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}, {' '.join(platform.libc_ver())}"


def _limits() -> Facts:
    quota = quota_cores(own_groups("cpu"))
    yield (
        "cores",
        f"{usable_cores()} of {os.cpu_count()}, by "
        + ("the affinity of this process" if quota is None else f"its affinity and a cgroup's quota of {quota:.2f}"),
    )
    left = memory_left(own_groups("memory"))
    bounded = "no cgroup limits it" if left is None else f"{format_bytes(left)} are left in its cgroups"
    yield "memory", f"{format_bytes(available_bytes())} are available ({bounded}); runs and pools take up to half of it"
    yield "descriptors", f"{descriptor_limit()}, of which {free_descriptors()} are free; a worker needs five and more"
    yield "processes", _processes()
    if os.path.isdir(_SHM):
        shm = os.statvfs(_SHM)
        free, whole = shm.f_bavail * shm.f_frsize, shm.f_blocks * shm.f_frsize
        yield (
            _SHM,
            f"{format_bytes(free)} of {format_bytes(whole)} are free; pardata uses none of it but for named blocks",
        )


def _processes() -> str:
    resource = module("resource")
    if not hasattr(resource, "RLIMIT_NPROC"):
        return "unknown on this system"
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return "no limit of this user" if most == resource.RLIM_INFINITY else f"{most} of this user, threads included"


def _switches() -> Facts:
    yield "processes", "on" if HAS_SHARED_MEMORY else f"off: worker processes need Linux, and this is {sys.platform}"
    yield "arrays that only a stage has are passed on without a copy", _shortcuts()
    yield "arrays that NumPy makes in workers are born in shared memory", births.describe_births()
    yield (
        "wake-ups of workers that are awake are saved",
        ("on" if CAN_ELIDE_WAKEUPS else f"off: the order of stores on {platform.machine()} does not allow it"),
    )
    yield "writes of native code to read-only arrays end the worker", _write_check()
    yield "huge pages for large blocks", _huge_pages()
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    yield "threads run Python code one at a time", "yes" if has_lock else "no: this Python has no global lock"
    jit = getattr(sys, "_jit", None)
    if jit is not None:
        yield "Python's compiler", "on" if jit.is_enabled() else "off"


def _shortcuts() -> str:
    if sole.element and sole.base:
        return (
            "on" if sole.variable else "on, but not for what a generator still holds: its references do not count alike"
        )
    if "free-threading" in sys.version:
        return "off: threads without a global lock count references apart"
    if not hasattr(sys, "getrefcount"):
        return "off: this Python counts no references"
    jit = getattr(sys, "_jit", None)
    if jit is not None and jit.is_enabled():
        return "off: Python's compiler may leave out counts of references"
    return "off: this Python counts references in a way that is not known"


def _write_check() -> str:
    return f"on ({CHECK_VARIABLE}=1)" if checks_writes() else f"off: {CHECK_VARIABLE}=1 finds such code"


def _huge_pages() -> str:
    try:
        with open(_HUGE_PAGES) as file:
            setting = file.read().split("[")[1].split("]")[0]
    except (OSError, IndexError):
        return "off: this system has none for shared memory"
    if setting in ("advise", "always", "within_size", "force"):
        return f"on ({_HUGE_PAGES}: {setting})"
    return f'off: {_HUGE_PAGES} says {setting}; the administrator can write "advise" there'


def _extras() -> Facts:
    for name, told in _EXTRAS.items():
        if name == "zstandard" and sys.version_info >= (3, 14):
            yield name, f"not needed: it is in the standard library ({told})"
            continue
        try:
            is_there = importlib.util.find_spec(name) is not None
            found = importlib.metadata.version(name) if is_there else "not installed"
        except (importlib.metadata.PackageNotFoundError, ValueError):
            found = "installed, of an unknown version"
        yield name, f"{found} ({told})"
