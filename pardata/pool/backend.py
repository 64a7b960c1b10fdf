"""The contract of a pool's workers, kept by processes (`dispatcher`) and by threads (`threads`)."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pardata.pool.arrays.addresses import Places
from pardata.pool.arrays.work import Work
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.chunking import Chunks
from pardata.pool.jobs.job import Job
from pardata.pool.open_backends import OpenBackend
from pardata.runtime.recording.record import Surroundings


class Backend(OpenBackend, Protocol):
    """Workers, and the part of the parent that feeds them."""

    setup: Setup
    recent: deque[Chunks]
    """The chunks of the last maps."""
    lazy: weakref.WeakSet[Any]
    """Maps that take items as their results are taken: they will have tasks, though they have none now."""

    def start(self) -> None:
        """Have the workers started; return when there is everything that `add` needs.

        If this is interrupted, or raises, the workers that were started are gone: as after `end_now`.
        """

    @property
    def places(self) -> Places:
        """Return the places of arrays that workers read and write."""

    def surroundings(self, kind: str) -> Surroundings:
        """Return what pictures show beside the counts; `kind`: of the workers."""

    @property
    def is_open(self) -> bool:
        """Return whether `add` is allowed."""

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""

    def encode(self, fn: Callable[..., Any]) -> Any:
        """Return an encoded function, as it is now. Tasks name it by the attribute `wire`."""

    def encode_work(self, work: Work, code: Any) -> Any:
        """Return an encoded `Work`, whose function is encoded as `code`."""

    def catch_up(self) -> None:
        """Return when all that workers have said until now is shown."""

    def next_number(self) -> int:
        """Return the number of the next job."""

    def calling(self) -> AbstractContextManager[None]:
        """Return a context for a call that does more than to add one job: if the pool is open now, it ends behind it.

        Until then this thread's jobs are taken, also after `close`.
        """

    def add(self, job: Job) -> None:
        """Give the workers a job. Raises RuntimeError after `close`, `WorkerLostError` if the pool broke."""

    def reschedule(self, job: Job) -> None:
        """Have a job looked at again: it may have tasks now."""

    def wake(self) -> None:
        """Have all jobs looked at again, some time soon. Takes no lock."""

    def run_inline(self, is_there: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Do a part of the work while the caller waits for `is_there`; return its last value."""

    def cancel(self, job: CallJob) -> bool:
        """Cancel a call that runs. Return False if it cannot be, or is done."""

    def end_jobs(self, is_meant: Callable[[Job], bool]) -> None:
        """Cancel the jobs that are meant, also their running calls where these can be ended."""

    def cancel_waiting(self) -> None:
        """Cancel the tasks that no worker has."""

    def abandon(self) -> None:
        """As `close` without waiting, for a pool that nobody holds. Takes no lock."""

    def statistics(self) -> dict[str, Any]:
        """Return the statistics of each worker, and the longest calls."""


def give_up(backend: Backend, job: Job | None, error: BaseException) -> None:
    """End a job that its caller does not wait for any more, because of an `error` that is not the job's.

    Ctrl-C (or another error that is no `Exception`) ends all jobs that the calling thread has given to the pool.
    """
    thread, ends_all = threading.get_ident(), not isinstance(error, Exception)
    backend.end_jobs(lambda each: each is job or (ends_all and each.thread == thread))
