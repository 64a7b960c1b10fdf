"""Home's side of an island: the stage that sends its messages away and hands on what comes back.

It is like a farm: messages are begun as they come while a node has credits, and handed on in the order in which their
answers come. One message is published for each that is taken, of the same number, so order, pairing and tokens are as
if the stages of the island were here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pardata.cluster.crossing import Answered, Crossing
from pardata.cluster.messages import Broken, Message, News, Result
from pardata.cluster.rows import together
from pardata.codec.batch_codec import Batch
from pardata.errors import WorkerLostError
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.awaiting import AwaitingProgram, OverlappingPort, OverlappingWork
from pardata.pipeline.programs.batcher import Port
from pardata.pipeline.programs.build import identity_of
from pardata.pipeline.programs.context import StageContext
from pardata.pipeline.programs.event_loop import EventLoop
from pardata.pipeline.programs.own import OwnProgram
from pardata.runtime.carried_errors import add_note, unpack_error
from pardata.runtime.faults import Fault
from pardata.runtime.node_statistics import shown
from pardata.runtime.worker.program import StageFailure


class Remote(OwnProgram):
    """The function of a stage that stands for an island."""

    def __init__(self, crossing: Crossing, outlets: int) -> None:
        self._crossing = crossing
        self._outlets = outlets

    def program(self, stage: Stage, plan: Plan, seed: int) -> RemoteProgram:
        return RemoteProgram(
            stage.name, None, Kind.MAP, stage.fanin, branches=stage.node.branches, identity=identity_of(stage, seed),
            sends_failures=plan.sends_failures(stage), crossing=self._crossing, outlets=self._outlets,
        )  # fmt: skip


@dataclass(eq=False)
class RemoteProgram(AwaitingProgram):
    """As `AwaitingProgram`, with messages that are away in place of calls that are awaited."""

    crossing: Any = None
    outlets: int = 1

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """Give the worker its event loop."""
        with EventLoop() as loop:
            yield loop

    def run(self, port: OverlappingPort) -> None:  # type: ignore[override]
        """Send every message away, and hand on every answer."""
        context = self.identity.enter(port)
        with self.opened() as loop:
            port.loaded()
            loop.run(self._work(port, context))

    async def _work(self, port: OverlappingPort, context: StageContext) -> None:
        self.crossing.begin()
        await OverlappingWork(self, port, self.crossing, context).run()
        for node, news in await self.crossing.finish():
            self._tell(port, node, news)

    def outcomes(self, batch: Batch, port: Any, calls: Any) -> Coroutine[Any, Any, Answered]:  # type: ignore[override]
        """Send a message; return what awaits its answer."""
        message = Message(batch.number, batch.count, batch.positions, together(batch.items))
        try:
            future = self.crossing.send(batch.number, message)
        except Exception as error:
            raise StageFailure(Fault.of(error, self.name, batch.number), error) from None
        batch.items = []  # they are kept as they were sent
        return self._answered(batch, future)

    async def _answered(self, batch: Batch, future: Any) -> Answered:
        try:
            return await future  # type: ignore[no-any-return]
        except Exception as error:
            if isinstance(error, WorkerLostError) and batch.count > 1:
                add_note(error, f"the message has the items {batch.number} to {batch.number + batch.count - 1}")
            raise StageFailure(Fault.of(error, self.name, batch.number), error) from None

    def completed(self, batch: Batch, port: Port, outcomes: Any, context: StageContext) -> Batch:
        """Return the batch that a message has become."""
        node, answer = outcomes
        if isinstance(answer, Broken):
            error = unpack_error(answer.error)
            add_note(error, f"on node {shown(node)}")
            raise StageFailure(Fault.of(error, self.name, batch.number), error)
        assert isinstance(answer, Result)
        self._tell(port, node, answer.news)
        port.count(batch.count if batch.positions is None else len(batch.positions))
        made = _merged(batch, answer.outlets[: self.outlets])
        return self._with_failures(made, answer.failures, port, node) if answer.failures else made

    def _with_failures(self, made: Batch, faults: list[tuple[int, Fault]], port: Port, node: str) -> Batch:
        """Return a batch with its failed items in their places; raises the first of them if nothing may end before."""
        failures = [(place, _failure(fault, node)) for place, fault in faults]
        if not self.sends_failures:
            raise failures[0][1]
        rows = list(zip(made.places, made.items, strict=True))
        rows += [(place, port.failed_item(failure)) for place, failure in failures]
        rows.sort(key=lambda row: row[0])
        return made.with_items([item for _, item in rows], [place for place, _ in rows])

    def _tell(self, port: Port, node: str, news: News) -> None:
        self.crossing.note(node, news)
        for event in news.skipped:
            port.report(event)


def _failure(fault: Fault, node: str) -> StageFailure:
    error = fault.exception()
    add_note(error, f"on node {shown(node)}")
    return StageFailure(fault, error)


def _merged(batch: Batch, outlets: Sequence[tuple[Sequence[int] | None, list[Any]]]) -> Batch:
    """Return a batch with the items of all outlets, each on its branch."""
    if not outlets:
        return batch.with_items([], [])
    if len(outlets) == 1:
        positions, items = outlets[0]
        return batch.with_items(items, None if positions is None else list(positions))
    items = [item for _, part in outlets for item in part]
    places = [place for positions, part in outlets for place in (range(len(part)) if positions is None else positions)]
    made = batch.with_items(items, places)
    made.branches = [branch for branch, (_, part) in enumerate(outlets) for _ in part]
    return made
