"""The loop of the thread of a pool past one machine: it sends tasks to the nodes, and takes in what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pardata.cluster.crossing import Answered
from pardata.cluster.engine import Connection
from pardata.cluster.ledger import SUSPECT_AFTER
from pardata.cluster.messages import News
from pardata.cluster.node_notes import NodeDeath, NodeLog, WorkerDeath, at_node
from pardata.cluster.pool_crossing import PoolCrossing, TaskBlamed, TaskSuspect
from pardata.cluster.pool_messages import PoolAnswer, TaskDone, TaskLost, TaskRefused
from pardata.cluster.pool_post import TaskPost, most_bytes_away
from pardata.cluster.port import Frames
from pardata.errors import InternalError, WorkerLostError
from pardata.memory.shared_heap import shared_heap
from pardata.pool.configuration import Setup
from pardata.pool.jobs.call import CallJob
from pardata.pool.jobs.job import Effect, Effects, Job, Outcome, Task
from pardata.pool.jobs.map import MapJob
from pardata.pool.lifecycle import PoolEvent, PoolLife, torn_by
from pardata.runtime.faults import Fault
from pardata.runtime.output.console import Console

_SHORT_S: Final = 0.25  # a chunk that takes less is sent while all workers are busy: the way there takes some ms


class TaskLoop:
    """The tasks of a pool, and their way to the nodes. Made, run and ended by the pool's thread.

    Parameters
    ----------
    code : list
        Of the pools of the nodes.
    lazy : set
        The maps that will have tasks, though they have none now: the pool does not end before them.
    """

    def __init__(
        self,
        setup: Setup,
        code: Frames,
        connection: Connection,
        life: PoolLife,
        lock: threading.RLock,
        lazy: weakref.WeakSet[Any],
    ) -> None:
        self.jobs: deque[Job] = deque()
        self.tasks: dict[int, Task] = {}  # that nodes have
        self.effects = Effects()
        self.log = NodeLog([])
        self._timeout_s = setup.timeout_s or 0.0
        self._connection = connection
        self._life = life
        self._lock = lock
        self._lazy = lazy
        self._woken = asyncio.Event()
        self._runner = asyncio.Runner()
        self.console = Console(shared_heap())
        try:
            port, most_bytes = connection.new_port(1), most_bytes_away()
            self.crossing = PoolCrossing(port, setup.name, most_bytes, self.console.show, self._woken.set)
            self._post = TaskPost(self.crossing, self.call, self._on_answer, most_bytes)
            self.crossing.open(code)
            self._runner.run(self._greet())
        except BaseException:
            self._close()
            raise

    async def _greet(self) -> None:
        """Begin with the nodes that are there."""
        asyncio.get_running_loop().set_exception_handler(self._break)
        self.crossing.begin()
        await self.crossing.pools.greeted.wait()
        if not self.crossing.pools.workers:
            raise WorkerLostError(self.crossing.why_over or "all nodes were lost while the pool was started there")

    def _break(self, loop: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        """End the pool for an error of its own: whoever waits for a result is told."""
        with self._lock:
            self._life.on(PoolEvent.BREAK, told.get("exception") or InternalError(told["message"]))
        self._woken.set()

    # -- for the callers' threads --------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Return whether something is to be done."""
        return bool(self.jobs or self.tasks or self._lazy or self._life.callers)

    def call(self, what: Callable[[], object]) -> None:
        """Have something done by the pool's thread, unless it has ended. Takes no lock."""
        with contextlib.suppress(RuntimeError):
            self._runner.get_loop().call_soon_threadsafe(what)

    def wake(self) -> None:
        """Have all jobs looked at again. Takes no lock."""
        self.call(self._woken.set)

    def queue(self, job: Job) -> None:
        """Have a job asked for tasks, if it has any. Called with the pool's lock held."""
        if not job.queued and not job.exhausted:
            job.queued = True
            self.jobs.append(job)

    def drop(self, is_meant: Callable[[Job], bool]) -> list[Job]:
        """End the tasks of the jobs that are meant; return these. Called with the pool's lock held."""
        numbers = [number for number, task in self.tasks.items() if is_meant(task.job)]
        jobs = [job for job in self.jobs if is_meant(job)] + [self.tasks.pop(number).job for number in numbers]
        self.call(partial(self.crossing.drop, numbers))
        return list(dict.fromkeys(jobs))

    # -- the work ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Have tasks done until the pool is over; then end the pools of the nodes."""
        try:
            self._runner.run(self._work())
        except BaseException as error:
            with self._lock:
                self._life.on(PoolEvent.BREAK, error)
        finally:
            self._end()

    @property
    def _is_over(self) -> bool:
        # A node that finishes does all that it has: before that, it has to know which tasks were dropped.
        is_away = self.crossing.count and self.crossing.pools.workers
        return self._life.error is not None or not (self._life.is_open or self.is_busy or is_away)

    async def _work(self) -> None:
        while not self._is_over:
            await self._woken.wait()
            self._woken.clear()
            with self._lock:
                self.dispatch()
            self.effects.take_as_feeder()
        finishing = asyncio.ensure_future(self.crossing.finish())
        while self._life.error is None and not finishing.done():  # until somebody wants it to end at once
            woken = asyncio.ensure_future(self._woken.wait())
            await asyncio.wait([finishing, woken], return_when=asyncio.FIRST_COMPLETED)
            woken.cancel()
            self._woken.clear()
        if finishing.done():
            for node, news in finishing.result():
                self.crossing.note(node, news)

    def dispatch(self) -> None:
        """Send tasks, of the jobs in turn. Called with the pool's lock held, by any thread.

        So the arguments of a call for which a worker is idle are copied before `submit` returns.
        """
        while self._life.error is None and self.jobs and self._post.has_room:
            are_busy = len(self.tasks) >= max(1, self._post.workers)
            if are_busy and not self._post.is_here:
                return  # only the pool's thread knows how much may go ahead
            task = self._next_task(are_busy)
            if task is None:
                return
            self._send(task)

    def _next_task(self, ahead: bool) -> Task | None:
        for _ in range(len(self.jobs)):
            job = self.jobs.popleft()
            may_go = not ahead or (isinstance(job, MapJob) and job.chunks.is_shorter_than(_SHORT_S))
            task = job.next_task(False) if may_go else None
            job.queued = not job.exhausted
            if job.queued:
                self.jobs.append(job)
            if task is not None:
                return task
        return None

    def _send(self, task: Task) -> None:
        job = task.job
        try:
            number, nbytes = self._post.send(task)
        except Exception as error:  # an argument cannot leave
            if task.end - task.begin > 1:
                job.suspect(task, task.deaths)  # find out which
            else:
                self.effects.note(job.fail(task, error))
            self.queue(job)
        except BaseException as error:
            self.effects.note(job.fail(task, torn_by(error)))
            raise
        else:
            if not isinstance(job, CallJob):
                job.note_sent(task, nbytes)
            self.tasks[number] = task

    # -- answers -------------------------------------------------------------------------------------------------------

    def _on_answer(self, number: int, future: asyncio.Future[Answered]) -> None:
        error = future.exception()
        with self._lock:
            task = self.tasks.pop(number, None)
            if task is not None:
                self._take_in(task, future, error)
            elif isinstance(error, WorkerLostError):  # it was dropped, and those that wait behind it have no node
                self._life.on(PoolEvent.BREAK, error)
        self._woken.set()  # the node has room now

    def _take_in(self, task: Task, future: asyncio.Future[Answered], error: BaseException | None) -> None:
        has_said = error is None and self._show(*future.result())
        effect = self._failed(task, error) if error is not None else self._answered(task, *future.result())
        self.queue(task.job)
        if effect is not None and has_said:
            self.console.after(effect)
        else:
            self.effects.note(effect)

    def _show(self, node: str, answer: PoolAnswer) -> bool:
        """Show what the workers of a node have said until then; return whether there was anything."""
        said = answer.said if isinstance(answer, TaskDone | TaskLost) else []
        self.crossing.note(node, News([], None, said))
        return bool(said)

    def _answered(self, task: Task, node: str, answer: PoolAnswer) -> Effect | None:
        if isinstance(answer, TaskDone):
            return self._finished(task, node, answer)
        if isinstance(answer, TaskLost):
            self.log.workers[self.log.worker_of(node, answer.worker)]["deaths"] += 1
            if answer.is_late:
                return task.job.overdue(task, answer.begin, answer.end, self._timeout_s)
            death = WorkerDeath(node, answer.begin, answer.end, answer.status, answer.peak_bytes)
            return task.job.lost(task, death)
        assert isinstance(answer, TaskRefused)
        error = at_node(answer.fault, node).exception()
        if not answer.is_over:
            return task.job.fail(task, error)
        self._life.on(PoolEvent.BREAK, error)
        return task.job.fail(None, error)

    def _finished(self, task: Task, node: str, answer: TaskDone) -> Effect | None:
        outcome = Outcome(*answer.outcome)
        if outcome.fault is not None:
            outcome = outcome._replace(fault=at_node(outcome.fault, node))
        self.log.add(self.log.worker_of(node, answer.worker), task, outcome)
        try:
            return task.job.finish(task, outcome)
        except Exception as failure:  # no node has the task any more: its caller would wait for ever
            return task.job.fail(None, failure)

    def _failed(self, task: Task, error: BaseException) -> Effect | None:
        """Take in that a task has no answer, or one that cannot be loaded here."""
        job = task.job
        if isinstance(error, TaskSuspect):
            job.suspect(task, SUSPECT_AFTER)
            return None
        if isinstance(error, TaskBlamed):
            return job.lost(task, NodeDeath(task.begin, task.end, str(error)))
        if isinstance(error, WorkerLostError):  # there is no node, and none will come
            self._life.on(PoolEvent.BREAK, error)
            return job.fail(None, error)
        fault = Fault.of(error, "pool", place="a task of the pool, while its result was being loaded here")
        return job.finish(task, Outcome(1, None, fault, 0.0, is_unread=True))

    # -- the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        with self._lock:
            self._life.on(PoolEvent.CLOSE)
        try:
            if self._life.error is not None:
                self.console.hurry()
            self._close()
        finally:
            with self._lock:
                self._fail_rest()
                self.log.keep()
            self.effects.take_as_feeder()

    def _close(self) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(self.console.close)
            undo.callback(self._runner.close)
            if self._connection.close is not None:
                undo.callback(self._connection.close)
            if hasattr(self, "crossing"):
                undo.callback(self.crossing.close)

    def _fail_rest(self) -> None:
        """Fail the jobs that are not done."""
        self._life.on(PoolEvent.ENDED)
        error = self._life.error
        assert error is not None
        jobs = dict.fromkeys([*(task.job for task in self.tasks.values()), *self.jobs])
        for job in jobs:
            self.effects.note(job.fail(None, error))
        self.tasks.clear()
        self.jobs.clear()
