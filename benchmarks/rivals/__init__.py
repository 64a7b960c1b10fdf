"""The rivals, one file each: pardata and the alternatives that a user has, behind one small interface.

A rival is a class `Rival` in a module of this package, which overrides the jobs that its library's documentation
offers, in the way that documentation recommends. The module may import its library at its top: it is only imported in
the process that is measured.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass

from benchmarks.rivals.rival import ArrayWork, FileWork, Flow, Link, Pool, Rival

__all__ = ["EARLIER", "RIVALS", "ArrayWork", "Entry", "FileWork", "Flow", "Link", "Pool", "Rival", "load", "missing"]


@dataclass(frozen=True)
class Entry:
    """A rival: its module, and the packages that it needs.

    Parameters
    ----------
    module : the file in this package
    package : names of the packages to import, its own first; "" if it needs only Python and NumPy
    distribution : name of the package for pip, if that is different; with its extra, if the package comes with that
    """

    module: str
    package: str = ""
    distribution: str = ""

    @property
    def version(self) -> str | None:
        """The installed version; None for a rival that needs only Python and NumPy."""
        if not self.package:
            return None
        try:
            return importlib.metadata.version((self.distribution or self.package).partition("[")[0])
        except importlib.metadata.PackageNotFoundError:
            return None


EARLIER = "pardata f60c095"  # pardata at that commit, as its own sources measure it (``--earlier FOLDER``)

RIVALS = {
    "pardata": Entry("pardata", "pardata"),
    "pardata.Queue": Entry("pardata_queue", "pardata"),
    "pardata, best fixed chunk": Entry("pardata_fixed", "pardata"),
    "pardata, recorded": Entry("pardata_recorded", "pardata"),
    "pardata, copying": Entry("pardata_copying", "pardata"),
    "serial": Entry("serial"),
    "limit": Entry("limit"),
    "threads": Entry("threads"),
    "mp.Queue": Entry("mp_queue"),
    "mp.Pipe": Entry("mp_pipe"),
    "mp.Pool": Entry("mp_pool"),
    "mp.Pool spawn": Entry("mp_pool_spawn"),
    "mp.shared_memory": Entry("mp_shared_memory"),
    "mp.Manager": Entry("mp_manager"),
    "concurrent.futures": Entry("concurrent_futures"),
    "joblib": Entry("joblib", "joblib"),
    "joblib memmap": Entry("joblib_memmap", "joblib"),
    "mpire": Entry("mpire", "mpire"),
    "pebble": Entry("pebble", "pebble"),
    "faster-fifo": Entry("faster_fifo", "faster_fifo", "faster-fifo"),
    "pypeln": Entry("pypeln", "pypeln"),
    "torch": Entry("torch", "torch"),
    "ray tasks": Entry("ray_tasks", "ray"),
    "ray actors": Entry("ray_actors", "ray"),
    "ray compiled graph": Entry("ray_graph", "ray"),
    "ray data": Entry("ray_data", "ray pyarrow pandas", "ray[data]"),
    "dask threads": Entry("dask_threads", "dask"),
    "dask processes": Entry("dask_processes", "dask"),
    "dask distributed": Entry("dask_distributed", "distributed"),
    "dask actors": Entry("dask_actors", "distributed"),
}


def missing(name: str) -> str | None:
    """Why this rival cannot be measured here; None if it can."""
    entry = RIVALS[name]
    if any(importlib.util.find_spec(package) is None for package in entry.package.split()):
        return f"not installed (pip install {entry.distribution or entry.package})"
    return None


def load(name: str) -> Rival:
    """The rival of this name; imports its library."""
    rival: Rival = importlib.import_module(f"benchmarks.rivals.{RIVALS[name].module}").Rival()
    return rival
