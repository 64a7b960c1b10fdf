"""The assignment of tasks to workers."""

from __future__ import annotations

import itertools
from collections import deque

from pardata.channel.outbox import Outbox
from pardata.codec.batch_codec import Batch
from pardata.pool.jobs.job import Task
from pardata.pool.worker.messages import CALL, ROWS, squeeze
from pardata.pool.worker.words import POSITION, STARTED_NS, STARTUP_NS, STRIDE
from pardata.runtime.header import CURRENT_CALL, batch_of_word
from pardata.runtime.supervisor import Worker


class WorkerSlot:
    """A worker's place in the pool, over all its lives."""

    def __init__(self, index: int, worker: Worker, outbox: Outbox, record: tuple[int, int] | None = None) -> None:
        self.index = index
        self.record = record  # where it records what it does (`worker.spec.OwnAreas`)
        self.worker = worker
        self.outbox = outbox
        self.numbers: deque[int] = deque()  # of its tasks, in the order in which it does them

    def position(self) -> int:
        """Return how many calls of its task at hand are done."""
        return int(self.worker.words[POSITION])

    @property
    def started_ns(self) -> int:
        """The time when the call at hand began (`time.perf_counter_ns`); 0: there is none."""
        return int(self.worker.words[STARTED_NS])

    @property
    def start_s(self) -> float:
        """The seconds that its processes took to start, until they were ready for tasks; of all lives."""
        return int(self.worker.words[STARTUP_NS]) / 1e9

    @property
    def at_work(self) -> int | None:
        """The number of the task that the worker works on."""
        batch = batch_of_word(max(0, self.worker.words[CURRENT_CALL]))  # negative while it is starting
        return None if batch is None else batch[1]

    def calls_at_work(self, task: Task) -> tuple[int, int]:
        """Return which items of `task`, at hand, the call or calls are for that it has begun last."""
        words = self.worker.words
        begin = task.begin + int(words[POSITION])
        return begin, min(task.end, begin + max(1, int(words[STRIDE])))

    def clear(self) -> None:
        """Reset the words of a dead worker: it works on nothing."""
        words = self.worker.words
        # The span has no process now, so its parent may write to it.
        words[POSITION] = words[STRIDE] = words[STARTED_NS] = 0

    def __repr__(self) -> str:
        return f"<WorkerSlot of {self.worker!r}: {len(self.numbers)} tasks>"


class Assignments:
    """The tasks that workers have, by their numbers."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.sent_bytes = 0
        self._numbers = itertools.count()

    def send(self, slot: WorkerSlot, task: Task) -> None:
        """Give a task to a worker. Raises the error of an argument that cannot be pickled, and `CapacityError`."""
        task.number, task.slot = next(self._numbers), slot
        message = task.job.message(task)
        is_call = message[0] == CALL
        if is_call:
            message = squeeze(message, *message[3], *message[4].values())
        elif message[0] == ROWS:
            message = squeeze(message)  # addresses and numbers
        outbox = slot.outbox
        outbox.is_private = task.job.writable
        outbox.publish(Batch(0, task.number, 1, 0, [message]))
        placer = outbox.placer
        if not is_call:
            task.job.note_sent(task, placer.sent_bytes)
        self.sent_bytes += placer.sent_bytes
        placer.sent_bytes = 0
        # Behind the publication, which may raise. With the pool's lock held, no outcome is taken in meanwhile.
        self.tasks[task.number] = task
        slot.numbers.append(task.number)
        # ``int()`` is 0: of a task that waits behind another one nothing is done.
        task.position = slot.position if len(slot.numbers) == 1 else int

    def leave(self, number: int) -> Task | None:
        """Take a task from its worker; None if it has none of that number."""
        task = self.tasks.pop(number, None)
        if task is not None:
            slot: WorkerSlot = task.slot
            slot.numbers.remove(number)
            if slot.numbers:
                self.tasks[slot.numbers[0]].position = slot.position
        return task

    def withdraw(self, number: int) -> Task | None:
        """Take a task from a worker that is dead: its successor will not find it."""
        task = self.tasks.get(number)
        if task is not None:
            task.slot.outbox.edges[0].senders[0].abandon(number)
        return self.leave(number)
