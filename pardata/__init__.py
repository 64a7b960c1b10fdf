"""Pipelines and pools of processes over large NumPy arrays: arrays do not move, nothing is lost, nothing is left."""

from pardata.errors import (
    BrokenError,
    CapacityError,
    ClosedError,
    ConfigError,
    DeadlineExceeded,
    InternalError,
    MissingExtraError,
    PardataError,
    PlanError,
    RemoteError,
    RemoteTraceback,
    SerializationError,
    StaleBlockError,
    WorkerLostError,
)
from pardata.lookup.table import Table
from pardata.memory.home import array, empty, zeros
from pardata.pipeline.stream import Run, Stream, merge, source, zip
from pardata.pool.pool import WorkerPool
from pardata.runtime.progress import RunReport, Skipped, StageStatistics

__version__ = "0.1.0"

__all__ = [
    "BrokenError",
    "CapacityError",
    "ClosedError",
    "ConfigError",
    "DeadlineExceeded",
    "InternalError",
    "MissingExtraError",
    "PardataError",
    "PlanError",
    "RemoteError",
    "RemoteTraceback",
    "Run",
    "RunReport",
    "SerializationError",
    "Skipped",
    "StageStatistics",
    "StaleBlockError",
    "Stream",
    "Table",
    "WorkerLostError",
    "WorkerPool",
    "array",
    "empty",
    "merge",
    "source",
    "zeros",
    "zip",
]
