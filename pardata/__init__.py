"""Pipelines and pools of processes over large NumPy arrays: arrays do not move, nothing is lost, nothing is left."""

import sys as _sys
from typing import TYPE_CHECKING, Any

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
from pardata.memory.named import session as _session  # noqa: F401 -- it begins here: a child may make the first block

if TYPE_CHECKING:
    from pardata import cluster as cluster
    from pardata import files
    from pardata import torch as torch
    from pardata.data.registry import open_data as open
    from pardata.feeding.feed import Feed, batches
    from pardata.files.paged import PagedFile
    from pardata.lookup.client import Service
    from pardata.lookup.database import Database
    from pardata.lookup.serving import serve
    from pardata.lookup.table import Table
    from pardata.lookup.writer import Writer
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
    from pardata.pool.compat.multiprocessing import Pool
    from pardata.pool.default import foreach_array, map, map_array, reduce_array, register_joblib, shutdown
    from pardata.pool.pool import WorkerPool
    from pardata.pool.report import PoolReport
    from pardata.queue.joinable import JoinableQueue
    from pardata.queue.queue import Queue
    from pardata.runtime.context import worker
    from pardata.runtime.node_statistics import NodeStatistics
    from pardata.runtime.progress import RunReport, Skipped, StageStatistics

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

# Each is loaded at its first use: a program waits for what it uses, and `import pardata` for errors and the session.
_LATE = {
    "BlockInfo": "pardata.memory.named.inspector",
    "Database": "pardata.lookup.database",
    "DeadLetter": "pardata.pipeline.programs.dead_letter",
    "Feed": "pardata.feeding.feed",
    "JoinableQueue": "pardata.queue.joinable",
    "NodeStatistics": "pardata.runtime.node_statistics",
    "PagedFile": "pardata.files.paged",
    "Pool": "pardata.pool.compat.multiprocessing",
    "PoolReport": "pardata.pool.report",
    "Queue": "pardata.queue.queue",
    "Run": "pardata.pipeline.run",
    "RunReport": "pardata.runtime.progress",
    "Service": "pardata.lookup.client",
    "ShareableList": "pardata.memory.named.shareable_list",
    "SharedArray": "pardata.memory.shared_array",
    "SharedMemory": "pardata.memory.named.block",
    "SharedMemoryManager": "pardata.memory.named.manager",
    "Skipped": "pardata.runtime.progress",
    "StageStatistics": "pardata.runtime.progress",
    "Stream": "pardata.pipeline.stream",
    "Table": "pardata.lookup.table",
    "WorkerPool": "pardata.pool.pool",
    "Writer": "pardata.lookup.writer",
    "array": "pardata.memory.shared_heap",
    "batches": "pardata.feeding.feed",
    "cluster": "pardata.cluster",
    "concat": "pardata.pipeline.joins",
    "empty": "pardata.memory.shared_heap",
    "files": "pardata.files",
    "foreach_array": "pardata.pool.default",
    "in_shared_memory": "pardata.memory.born.nursery",
    "map": "pardata.pool.default",
    "map_array": "pardata.pool.default",
    "merge": "pardata.pipeline.joins",
    "open": "pardata.data.registry",
    "reduce_array": "pardata.pool.default",
    "register_joblib": "pardata.pool.default",
    "run": "pardata.pipeline.joins",
    "serve": "pardata.lookup.serving",
    "shutdown": "pardata.pool.default",
    "source": "pardata.pipeline.sources",
    "torch": "pardata.torch",
    "worker": "pardata.runtime.context",
    "zeros": "pardata.memory.shared_heap",
    "zip": "pardata.pipeline.joins",
}
_NAMES = {"open": "open_data"}  # where that in its module differs


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE} - {"TYPE_CHECKING", "Any"})


if not TYPE_CHECKING:  # a type checker would take each name that it does not find for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _LATE:
            raise AttributeError(f"module 'pardata' has no attribute {name!r}", name=name, obj=_sys.modules[__name__])
        from importlib import import_module

        from pardata.process.capacity import loading

        with loading(f"the first use of pardata.{name}"):
            found: Any = import_module(_LATE[name])
        if _LATE[name] != f"pardata.{name}":
            found = getattr(found, _NAMES.get(name, name))
        globals()[name] = found
        return found
