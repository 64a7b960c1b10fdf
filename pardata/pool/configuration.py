"""The configuration of a pool, of processes or of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setup:
    """The options of a pool; see `WorkerPool`."""

    workers: int
    name: str = "pool"
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    max_tasks_per_worker: int | None = None
    memory_limit: float | str | None = None
    timeout_s: float | None = None
    retries: int = 0
    shared: Any = None
    seed: int | None = None
    finalizer: Callable[..., object] | None = None
    finalargs: tuple[Any, ...] = ()
    cores: int = 1  # the share of each worker
    native: bool = False
    writable: bool = False
    record: bool = False
