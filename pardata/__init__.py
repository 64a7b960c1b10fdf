"""Pipelines and pools of processes over large NumPy arrays: arrays do not move, nothing is lost, nothing is left."""

import sys as _sys
from typing import TYPE_CHECKING, Any

from pardata.cluster import enter_cluster_engines as _enter_cluster_engines
from pardata.engines.registry import enter_engines as _enter_engines
from pardata.errors import (
    BrokenError,
    CapacityError,
    ChecksumError,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InternalError,
    LossError,
    MissingExtraError,
    PardataError,
    PlanError,
    PlatformError,
    RemoteError,
    RemoteTraceback,
    SerializationError,
    StaleBlockError,
    WorkerLostError,
)
from pardata.lookup.table import Table
from pardata.memory.born.nursery import in_shared_memory
from pardata.memory.named.block import SharedMemory
from pardata.memory.named.inspector import BlockInfo
from pardata.memory.named.manager import SharedMemoryManager
from pardata.memory.named.shareable_list import ShareableList
from pardata.memory.shared_array import SharedArray
from pardata.memory.shared_heap import array, empty, zeros
from pardata.pipeline.joins import concat, merge, run, zip
from pardata.pipeline.programs.dead_letter import DeadLetter
from pardata.pipeline.run import Run
from pardata.pipeline.sources import source
from pardata.pipeline.stream import Stream
from pardata.pool.compat.joblib_backend import register_joblib
from pardata.pool.compat.multiprocessing import Pool
from pardata.pool.default import foreach_array, map, map_array, reduce_array, shutdown
from pardata.pool.pool import WorkerPool
from pardata.pool.report import PoolReport
from pardata.runtime.context import worker
from pardata.runtime.node_statistics import NodeStatistics
from pardata.runtime.progress import RunReport, Skipped, StageStatistics

if TYPE_CHECKING:
    from pardata import files
    from pardata import torch as torch
    from pardata.data.registry import open_data as open
    from pardata.feeding.feed import Feed, batches
    from pardata.files.paged import PagedFile
    from pardata.lookup.client import Service
    from pardata.lookup.database import Database
    from pardata.lookup.serving import serve
    from pardata.lookup.writer import Writer
    from pardata.queue.joinable import JoinableQueue
    from pardata.queue.queue import Queue

_enter_engines()
_enter_cluster_engines()

__version__ = "0.1.0"

__all__ = [
    "BlockInfo",
    "BrokenError",
    "CapacityError",
    "ChecksumError",
    "ClosedError",
    "ConfigError",
    "Database",
    "DeadLetter",
    "DeadlineExceeded",
    "Feed",
    "InternalError",
    "JoinableQueue",
    "LossError",
    "MissingExtraError",
    "NodeStatistics",
    "PagedFile",
    "PardataError",
    "PlanError",
    "PlatformError",
    "Pool",
    "PoolReport",
    "Queue",
    "RemoteError",
    "RemoteTraceback",
    "Run",
    "RunReport",
    "SerializationError",
    "Service",
    "ShareableList",
    "SharedArray",
    "SharedMemory",
    "SharedMemoryManager",
    "Skipped",
    "StageStatistics",
    "StaleBlockError",
    "Stream",
    "Table",
    "WorkerLostError",
    "WorkerPool",
    "Writer",
    "array",
    "batches",
    "concat",
    "empty",
    "files",
    "foreach_array",
    "in_shared_memory",
    "map",
    "map_array",
    "merge",
    "open",
    "reduce_array",
    "register_joblib",
    "run",
    "serve",
    "shutdown",
    "source",
    "worker",
    "zeros",
    "zip",
]

# What needs more of the standard library is loaded at its first use: `import pardata` stays as fast as NumPy's.
_LATE = {
    "Database": "pardata.lookup.database",
    "Feed": "pardata.feeding.feed",
    "JoinableQueue": "pardata.queue.joinable",
    "PagedFile": "pardata.files.paged",
    "Queue": "pardata.queue.queue",
    "Service": "pardata.lookup.client",
    "Writer": "pardata.lookup.writer",
    "batches": "pardata.feeding.feed",
    "serve": "pardata.lookup.serving",
    "files": "pardata.files",
    "open": "pardata.data.registry",
    "torch": "pardata.torch",
}
_NAMES = {"open": "open_data"}  # where that in its module differs


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'pardata' has no attribute {name!r}", name=name, obj=_sys.modules[__name__])
    from importlib import import_module

    module = import_module(_LATE[name])
    return module if _LATE[name] == f"pardata.{name}" else getattr(module, _NAMES.get(name, name))
