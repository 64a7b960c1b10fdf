"""The way of a pool's tasks to the crossing: whoever hands a task out encodes it, and the pool's thread sends it."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from pardata.cluster import wire
from pardata.cluster.crossing import Answered
from pardata.cluster.pool_crossing import Away, PoolCrossing, kept
from pardata.cluster.pool_messages import PoolTask
from pardata.errors import WorkerLostError
from pardata.memory.budget import available_bytes
from pardata.pool.jobs.job import Task

_SHARE_OF_HOME: Final = 4  # so much of what is available may be away, over all nodes

OnTaskAnswer = Callable[[int, "asyncio.Future[Answered]"], None]


def most_bytes_away() -> int:
    """Return how many bytes may be on their way, over all nodes."""
    return available_bytes() // 2 // _SHARE_OF_HOME


class TaskPost:
    """Encodes tasks, and hands them to the crossing. Made by the pool's thread; called with the pool's lock held.

    Parameters
    ----------
    call : callable
        Has something done by the pool's thread.
    on_answer : callable
        Called there with a task's number and its answer.
    """

    def __init__(
        self,
        crossing: PoolCrossing,
        call: Callable[[Callable[[], object]], None],
        on_answer: OnTaskAnswer,
        most_bytes: int,
    ) -> None:
        self._crossing = crossing
        self._call = call
        self._on_answer = on_answer
        self._most_bytes = most_bytes
        self._numbers = itertools.count()
        self._encoded_bytes = self._begun_bytes = 0  # their difference is on its way to the crossing
        self._ident = threading.get_ident()

    @property
    def is_here(self) -> bool:
        """Whether this is the pool's thread."""
        return threading.get_ident() == self._ident

    @property
    def has_room(self) -> bool:
        """Whether a further task would be sent at once."""
        return self._crossing.has_room and self._encoded_bytes - self._begun_bytes < self._most_bytes

    @property
    def workers(self) -> int:
        """Of all nodes."""
        return sum(list(self._crossing.pools.workers.values()))

    def send(self, task: Task) -> tuple[int, int]:
        """Send a task; return its number and its bytes. Raises the error of an argument that cannot leave."""
        job = task.job
        code = job.code
        kind, _, *rest = job.message(task)
        told = PoolTask(code.key, task.begin, task.end, task.deaths, task.careful, job.writable, (kind, *rest))
        away = Away(kept(wire.encode(told)), code, task.deaths)
        number, nbytes = next(self._numbers), wire.count_bytes(away.frames)
        self._encoded_bytes += nbytes
        begin = partial(self._begin, number, away, nbytes)
        if self.is_here:
            begin()
        else:
            self._call(begin)
        return number, nbytes

    def _begin(self, number: int, away: Away, nbytes: int) -> None:
        self._begun_bytes += nbytes
        try:
            answer = self._crossing.begin_task(number, away)
        except Exception as error:  # the engine's: no argument is to blame
            lost = WorkerLostError(f"the engine of the cluster fails in this process: {type(error).__name__}: {error}")
            lost.__cause__ = error
            asyncio.get_running_loop().call_exception_handler({"message": str(lost), "exception": lost})
        else:
            answer.add_done_callback(partial(self._on_answer, number))
