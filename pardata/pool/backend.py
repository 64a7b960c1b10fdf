"""Who does a pool's work: one contract, kept by worker processes (`dispatcher`) and by threads (`threads`)."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pardata.pool.arrays.addresses import Address, Array
from pardata.pool.arrays.rows import Work
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import CallJob, Job, Task
from pardata.pool.worker.tasks import Outcome

_LONGEST: Final = 5  # calls that are kept for the statistics


@dataclass(frozen=True)
class Setup:
    """What a pool is made of; see `WorkerPool`."""

    workers: int
    name: str = "pool"
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    most_tasks: int | None = None
    memory_limit: int | None = None
    timeout_s: float | None = None
    retries: int = 0
    shared: Any = None
    seed: int | None = None
    finalizer: Callable[..., object] | None = None
    finalargs: tuple[Any, ...] = ()


# Those whose threads run, whatever became of their handles. Not weak references: a callback of theirs would be called
# in the main thread, where a Ctrl-C that comes just then gets lost.
open_crews: set[Backend] = set()


class Places(Protocol):
    """How workers get at arrays."""

    def hold(self, array: Any) -> Any: ...
    def reaches(self, array: Array) -> bool: ...
    def address(self, array: Any) -> Address: ...
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array: ...


class Backend(Protocol):
    """Workers, and who feeds them."""

    setup: Setup
    workers: int
    places: Places
    recent: deque[Chunks]
    """How the last maps were cut."""
    lazy: weakref.WeakSet[Any]
    """Maps that take items as their results are taken: they will have tasks, though they have none now."""

    def start(self) -> None:
        """Have the workers started; return when there is everything that `add` needs.

        If this is interrupted, or raises, `abandon` takes back what there is.
        """

    @property
    def is_open(self) -> bool:
        """Whether `add` is allowed."""

    @property
    def is_busy(self) -> bool:
        """Whether something is to be done."""

    def encode(self, fn: Callable[..., Any]) -> Any:
        """Return what tasks name a function by, as it is now: an object with `wire`."""

    def encode_work(self, work: Work, code: Any) -> Any:
        """Return what tasks name a `Work` by; `code`: of its function."""

    def next_number(self) -> int:
        """Return the number of the next job."""

    def add(self, job: Job) -> None:
        """Give the workers a job. Raises RuntimeError after `close`, `WorkerLostError` if the pool broke."""

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now."""

    def wake(self) -> None:
        """Have all jobs looked at again, some time soon. Takes no lock."""

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do a part of the work while the caller waits for `is_there`; return what it says."""

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that runs. Return False if it cannot be, or is done."""

    def end_jobs(self, is_meant: Callable[[Job], bool]) -> None:
        """Cancel the jobs that are meant, also what runs, where that can be ended."""

    def cancel_waiting(self) -> None:
        """Cancel what no worker has."""

    def close(self, wait: bool, kill: bool = False) -> None:
        """Take no more jobs; end when those that are here are done, or at once."""

    def abandon(self) -> None:
        """As `close` without waiting, for a pool that nobody holds. Takes no lock."""

    def statistics(self) -> dict[str, Any]:
        """Return what each worker did, and the longest calls."""


def give_up(backend: Backend, job: Job | None, error: BaseException) -> None:
    """End a job that its caller does not wait for any more, because of an `error` that is not the job's.

    Ctrl-C (and what else is no `Exception`) is meant for all that the thread has the pool do: all of that ends.
    """
    thread, ends_all = threading.get_ident(), not isinstance(error, Exception)
    backend.end_jobs(lambda each: each is job or (ends_all and each.thread == thread))


@dataclass
class Log:
    """What the workers of a pool did, one entry of `workers` each."""

    workers: list[dict[str, float]]
    longest: list[tuple[float, str]] = field(default_factory=list)

    def add(self, worker: int, task: Task, outcome: Outcome) -> None:
        """Take in what came of a task."""
        entry = self.workers[worker]
        entry["tasks"] += 1
        entry["work_s"] += outcome.seconds
        longest_s, index = outcome.longest
        if len(self.longest) < _LONGEST or longest_s > self.longest[-1][0]:
            what = f"item {task.begin + index} of {type(task.job).__name__}"
            self.longest = sorted([*self.longest, (longest_s, what)], reverse=True)[:_LONGEST]

    @classmethod
    def of(cls, workers: int) -> Log:
        """Return the log of so many workers."""
        return cls([{"tasks": 0, "start_s": 0.0, "work_s": 0.0, "deaths": 0} for _ in range(workers)])

    def statistics(self, spent_s: float) -> dict[str, Any]:
        """Return the log, with the time each worker waited."""
        workers = [
            {**entry, "wait_s": max(0.0, spent_s - entry["start_s"] - entry["work_s"])} for entry in self.workers
        ]
        return {"seconds": spent_s, "workers": workers, "longest": list(self.longest)}
