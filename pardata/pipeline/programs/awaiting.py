"""The program of a stage whose function is a coroutine function: several calls at a time, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pardata.codec.batch_codec import Batch
from pardata.pipeline.programs.batcher import Port, publish
from pardata.pipeline.programs.calls import Calls, Steps
from pardata.pipeline.programs.context import StageContext, occurrence_of
from pardata.pipeline.programs.event_loop import EventLoop
from pardata.pipeline.programs.item import ItemProgram, LostItems
from pardata.pipeline.programs.joining import join_batches
from pardata.pipeline.programs.user_code import failure_of, opened
from pardata.runtime.worker.program import MemoryShort, StageFailure, UnloadableError

CallResult = list[Any] | BaseException  # of a call: its result, in a list, or its error


class OverlappingPort(Port, Steps, Protocol):
    """A port that lets several batches be at work (see `runtime.worker.awaiting_port`)."""

    def watched(self, news: Callable[[], None]) -> contextlib.AbstractContextManager[None]: ...
    def try_begin(self) -> list[Batch] | None: ...
    def has_room_for(self, batch: Batch) -> bool: ...
    def turn_to(self, batch: Batch) -> None: ...
    def rest(self, calls: int, wants_input: bool, is_blocked: bool) -> float: ...
    def wake(self, has_news: bool) -> None: ...
    def makes_one_call(self) -> bool: ...
    @property
    def at_end(self) -> bool: ...


@dataclass(eq=False)
class AwaitingProgram(ItemProgram):
    """As `ItemProgram`, with a coroutine function: batches are handed on in the order in which their calls return.

    So to the plan it is a farm, of one worker for each call that may be at work.
    """

    concurrency: int = 1
    timeout_s: float | None = None
    awaits = True

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Give the calls of a worker: its own object of a stage with state is opened and closed in its event loop."""
        with EventLoop() as loop, opened(self.fn, 0, self.name, self.given, loop.complete) as fn:
            yield Calls(fn, loop, self.concurrency, 1 + self.retries, self.timeout_s, self.identity)

    def run(self, port: OverlappingPort) -> None:  # type: ignore[override]
        """Process batches until there are no more."""
        context = self.identity.enter(port)
        with self.opened() as calls:
            port.loaded()
            calls.run(OverlappingWork(self, port, calls, context).run())

    def process(self, batch: Batch, port: Port, fn: Any, context: StageContext) -> Batch:
        """Return the batch that `batch` becomes, when all its calls have returned; `fn` are the calls."""
        outcomes = fn.run(self.outcomes(batch, port, fn))  # type: ignore[arg-type]
        return self.completed(batch, port, outcomes, context)

    def completed(self, batch: Batch, port: Port, outcomes: list[CallResult], context: StageContext) -> Batch:
        """Return the batch that `batch` becomes with these outcomes of its calls."""
        following = iter(outcomes)

        def replay(item: Any) -> Any:
            outcome = next(following)
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome.pop()

        return super().process(batch, port, replay, context)

    def outcomes(self, batch: Batch, port: Steps, calls: Calls) -> Coroutine[Any, Any, list[CallResult]]:
        """Return what makes the calls for a batch; they count at once, so no more are begun than may be at work.

        It raises StageFailure for the first that fails, if the run is to end then.
        """
        calls.count += len(batch.items)
        return self._outcomes(batch, port, calls)

    async def _outcomes(self, batch: Batch, port: Steps, calls: Calls) -> list[CallResult]:
        here = [asyncio.ensure_future(self._outcome(batch, at, port, calls)) for at in range(len(batch.items))]
        try:
            return list(await asyncio.gather(*here))
        finally:
            await cancelled(here)

    async def _outcome(self, batch: Batch, index: int, port: Steps, calls: Calls) -> CallResult:
        value, number = batch.items[index], batch.item_number(index)
        try:
            return await calls.call(value, (batch.sequence, number, occurrence_of(batch, index)), port)
        except (Exception, SystemExit) as error:
            if self.errors == "raise" and not self.sends_failures:
                raise failure_of(error, self.name, number, value) from None
            return error
        finally:
            calls.count -= 1


async def cancelled(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return when their clean-up is done."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class OverlappingWork:
    """The batches that a worker has begun, from its first to its last."""

    def __init__(self, program: AwaitingProgram, port: OverlappingPort, calls: Calls, context: StageContext) -> None:
        self._program = program
        self._port = port
        self._calls = calls
        self._context = context
        self._lost: dict[tuple[int, int], LostItems] = {}  # items that could not be loaded, by batch
        self._at_work: dict[asyncio.Future[list[CallResult]], Batch] = {}
        self._made: dict[asyncio.Future[list[CallResult]], Batch] = {}  # by those at work, what waits for room
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Process batches until there are no more; cancel what is at work if the run ends before that."""
        port, news = self._port, self._news
        with port.watched(news.set):
            if port.makes_one_call():
                self._calls.limit(1, is_alone=True)
            try:
                while True:
                    news.clear()
                    port.poll()
                    self._hand_on()
                    self._begin()
                    if not self._at_work and port.at_end:
                        return
                    await self._rest()
            finally:
                await cancelled(list(self._at_work))

    @property
    def _wants_more(self) -> bool:
        """Whether a further batch may begin: not while results wait for room behind this stage.

        One call at a time means one batch at a time, also if a batch has no items and so no calls:

        * The commit of another batch would hide the item whose call has begun and kills.
        * With ``concurrency=1`` the stage is no farm to the plan, and may take its input in order or in turn. A
          successor goes by the last commit (`NEXT_NUMBER`, `TURN`): after one out of order it would wait for a batch
          that is finished, or drop one that is not.
        """
        if self._at_work and self._calls.most == 1:
            return False
        return not self._made and self._calls.has_room

    def _begin(self) -> None:
        """Begin the calls of as many batches as may be at work."""
        program, port, calls = self._program, self._port, self._calls
        if calls.is_alone and not self._at_work and not port.makes_one_call():
            calls.limit(program.concurrency, is_alone=False)
        while self._wants_more:
            lost = None
            try:
                batches = port.try_begin()
            except UnloadableError as error:
                batches, lost = error.batches, program.lost_of(error)
            if batches is None:
                return
            batch = join_batches(batches, program.fanin.policy)
            if lost is not None:
                self._lost[batch.sequence, batch.number] = lost
            task = asyncio.ensure_future(program.outcomes(batch, port, calls))
            task.add_done_callback(lambda _: self._news.set())
            self._at_work[task] = batch

    def _hand_on(self) -> None:
        """Publish and commit what is done, as far as there is room: of each sequence the oldest first.

        The oldest batch of a run may pass the memory limit, so it is not to wait for one behind it.
        """
        at_work = self._at_work
        done = [task for task in at_work if task.done()]
        if len(done) > 1:
            done.sort(key=lambda task: at_work[task].number)
        held: set[int] = set()
        for task in done:
            batch = at_work[task]
            if batch.sequence in held:
                continue
            made = self._made.pop(task, None) or self._completed(batch, task.result())
            left = self._publish(batch, made)
            if left is None:
                del at_work[task]
            else:
                self._made[task] = left
                held.add(batch.sequence)

    def _completed(self, batch: Batch, outcomes: list[CallResult]) -> Batch:
        """Return what a batch becomes."""
        program, port = self._program, self._port
        made = program.completed(batch, port, outcomes, self._context)
        lost = self._lost.pop((batch.sequence, batch.number), None)
        return program._with_lost(made, lost, port) if lost is not None else made

    def _publish(self, batch: Batch, made: Batch) -> Batch | None:
        """Publish and commit what is made of a batch. Return what is left to do: None, or the same for want of room."""
        program, port = self._program, self._port
        if not port.has_room_for(made):
            return made
        port.turn_to(batch)
        try:
            try:
                publish(port, made, program.name)
            except StageFailure as failure:
                if not program.goes_on_without(failure):
                    raise
                made = program._without_unpicklable(made, port)
                publish(port, made, program.name)
        except MemoryShort:
            return made
        port.commit()
        return None

    async def _rest(self) -> None:
        """Sleep until there is news."""
        port = self._port
        seconds = port.rest(self._calls.count, self._wants_more, bool(self._made))
        if not seconds:
            self._news.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds or None):
                await self._news.wait()
        port.wake(self._news.is_set())
