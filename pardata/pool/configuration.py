"""The configuration of a pool, of processes or of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pardata.runtime.dashboard.server import Dashboard


class Switches(NamedTuple):
    """The options of a pool that are on or off."""

    native: bool = False
    writable: bool = False
    record: bool = False


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
    switches: Switches = Switches()  # noqa: RUF009 -- it cannot be changed
    dashboard: Dashboard | None = None

    @property
    def native(self) -> bool:
        """Whether functions get arrays in the machine's byte order."""
        return self.switches.native

    @property
    def writable(self) -> bool:
        """Whether functions get arrays of their own."""
        return self.switches.writable

    def has_ended(self) -> None:
        """Do what follows the end of the workers: the page shows no more. Called without the pool's lock."""
        if self.dashboard is not None:
            self.dashboard.close()

    @property
    def record(self) -> bool:
        """Whether tasks are recorded."""
        return self.switches.record
