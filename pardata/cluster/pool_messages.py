"""The messages between a pool past one machine and its islands. Pure.

Messages with a number below `cluster.port.FINISH` are for one node; they are no tasks, and no other node gets them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pardata.pool.configuration import Setup
from pardata.pool.jobs.job import Outcome
from pardata.runtime.events import Spoken
from pardata.runtime.faults import Fault


class PoolCode(NamedTuple):
    """The options of an island's pool; `workers`: its own number of them, None: the cores of the node."""

    setup: Setup
    workers: int | None


class Hello(NamedTuple):
    """Asks a new island how many workers it has."""


class Welcome(NamedTuple):
    """The answer."""

    workers: int


class NewFunction(NamedTuple):
    """A function for tasks that follow, by its key, as frames of its own; `gone`: the keys of those not needed."""

    key: int
    frames: list[Any]
    gone: list[int]


class DropTasks(NamedTuple):
    """The tasks of these numbers are not wanted any more: the workers that are at them are ended."""

    numbers: list[int]


class Nothing(NamedTuple):
    """In the place of a task that is not wanted any more, and of its answer."""


class PoolTask(NamedTuple):
    """A task: see `pool.jobs.job.Task`. `message` is that to a worker, without the function, which is `key`."""

    key: int
    begin: int
    end: int
    deaths: int
    is_careful: bool
    is_writable: bool
    message: tuple[Any, ...]


class TaskDone(NamedTuple):
    """The outcome of a task. `worker`: of the node's pool."""

    outcome: Outcome
    worker: int
    said: list[Spoken]


class TaskLost(NamedTuple):
    """A worker died of a task, or was ended as it was late, while it was at these items."""

    begin: int
    end: int
    is_late: bool
    status: int | None
    peak_bytes: int | None
    worker: int
    said: list[Spoken]


class TaskRefused(NamedTuple):
    """A task could not be given to a worker; `is_over`: the node's pool takes none any more."""

    fault: Fault
    is_over: bool


PoolAnswer = TaskDone | TaskLost | TaskRefused | Nothing
