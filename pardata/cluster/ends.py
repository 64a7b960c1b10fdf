"""The two ends of an island: messages from home become batches of its run, and what comes out of it becomes answers.

frames -> Inlet -> InletProgram -> the island's stages -> OutletProgram -> `on_answer`
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pardata.cluster import wire
from pardata.cluster.messages import Message, News, Result
from pardata.cluster.port import Frames
from pardata.cluster.rows import together
from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.ordering import Arrival, Fanin, InOrder, InTurn
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.batcher import Port, publish
from pardata.pipeline.programs.build import identity_of
from pardata.pipeline.programs.context import StageIdentity
from pardata.pipeline.programs.own import OwnProgram
from pardata.runtime.events import ItemSkipped, Spoken
from pardata.runtime.progress import StageStatistics
from pardata.runtime.worker.program import UnloadableError

_COUNT_S: Final = 0.2  # between two reports of counts


@dataclass(frozen=True)
class _Renumbered:
    """A message as the island's run numbers it.

    A run that takes messages by number knows none that went to other nodes: the message stands for their numbers too,
    without items.
    """

    number: int  # at home
    count: int
    gap: int  # numbers in front that are at other nodes

    def inwards(self, positions: Any) -> list[int] | None:
        """Return the places of items in the run's batch."""
        if not self.gap:
            return None if positions is None else list(positions)
        places = range(self.count) if positions is None else positions
        wide = self.gap + self.count
        return [self.gap + place % self.count + place // self.count * wide for place in places]

    def outwards(self, positions: Any) -> list[int] | None:
        """Return the places of items in the message."""
        if positions is None or not self.gap:
            return None if positions is None else list(positions)
        wide = self.gap + self.count
        return [place % wide - self.gap + place // wide * self.count for place in positions]


class Inlet(OwnProgram):
    """The function of an island's source: messages enter here.

    Parameters
    ----------
    is_in_order : bool
        The run takes messages by number: those that are put have to come in that order.
    on_refused : callable
        Told the number and the error of a message that cannot be loaded.
    """

    def __init__(self, is_in_order: bool, on_refused: Callable[[int, BaseException], None]) -> None:
        self.places: dict[int, _Renumbered] = {}  # by the numbers of batches in the run
        self.following = 0
        self.on_refused = on_refused
        self._is_in_order = is_in_order
        self._waiting: queue.SimpleQueue[tuple[int, Frames] | None] = queue.SimpleQueue()

    def put(self, number: int, frames: Frames) -> None:
        """Take in a message."""
        self._waiting.put((number, frames))

    def end(self) -> None:
        """Take in no more."""
        self._waiting.put(None)

    def take(self) -> tuple[int, Frames] | None:
        """Return the next message, None at the end; waits."""
        return self._waiting.get()

    def batch(self, sequence: int, message: Message) -> Batch:
        """Return a message as a batch of the run, without its cell."""
        gap = message.number - self.following if self._is_in_order else 0
        place = _Renumbered(message.number, message.size, gap)
        number = message.number - gap
        self.following = message.number + message.size
        self.places[number] = place
        return Batch(sequence, number, gap + message.size, 0, message.items, place.inwards(message.positions))

    def program(self, stage: Stage, plan: Plan, seed: int) -> InletProgram:
        assert stage.own_sequence is not None
        return InletProgram(self, stage.name, stage.own_sequence, identity_of(stage, seed))


class InletProgram:
    """Publishes messages as they come."""

    inplace = False
    redoable = True
    fanin = Fanin()  # takes nothing

    def __init__(self, inlet: Inlet, name: str, sequence: int, identity: StageIdentity) -> None:
        self.name = name
        self._inlet = inlet
        self._sequence = sequence
        self._identity = identity

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        """Return the order in which batches are taken."""
        return self.fanin.order(following)

    def run(self, port: Port) -> None:
        """Publish every message."""
        self._identity.enter(port)
        port.loaded()
        while (given := self._inlet.take()) is not None:
            self._publish(port, *given)
            del given

    def _publish(self, port: Port, number: int, frames: Frames) -> None:
        try:
            message = wire.decode(frames)
        except Exception as error:
            self._inlet.on_refused(number, error)
            return
        frames.clear()
        batch = self._inlet.batch(self._sequence, message)
        del message
        batch.cell = port.token(batch.number)
        count = len(batch.items)
        publish(port, batch, self.name)
        port.count(count)
        port.poll()


class Outlet(OwnProgram):
    """The function of an island's last stage: results leave here.

    Parameters
    ----------
    on_answer : callable
        Told the number of a message, and the frames of the answer.
    counts, said : callable
        Return the counts of the island's stages, and what its workers have said since the last call.
    """

    def __init__(
        self, inlet: Inlet, outlets: int, on_answer: Callable[[int, Frames], None],
        counts: Callable[[], list[StageStatistics]], said: Callable[[], list[Spoken]],
    ) -> None:  # fmt: skip
        self._said = said
        self._skipped: list[ItemSkipped] = []
        self._inlet = inlet
        self._outlets = outlets
        self._on_answer = on_answer
        self._counts = counts
        self._counted_s = 0.0

    def program(self, stage: Stage, plan: Plan, seed: int) -> OutletProgram:
        return OutletProgram(self, stage.fanin, identity_of(stage, seed))

    def note_skip(self, event: ItemSkipped) -> None:
        """Note a failed item: the next answer tells of it."""
        self._skipped.append(event)

    def answer(self, batches: list[Batch], error: UnloadableError | None) -> None:
        """Answer a message with a batch of each outlet, and of each end behind them."""
        place = self._inlet.places.pop(batches[0].number)
        outlets = [(place.outwards(batch.positions), together(batch.items)) for batch in batches[: self._outlets]]
        failures = [] if error is None else error.failures()
        found = [(at, failure.fault) for at, failure in failures]
        places = place.outwards([at for at, _ in found]) or []
        result = Result(outlets, list(zip(places, [fault for _, fault in found], strict=True)), self.news())
        self._on_answer(place.number, wire.encode(result))

    def news(self) -> News:
        """Return what is to be told beside the answers."""
        skipped, self._skipped = self._skipped, []
        now_s = time.monotonic()
        if now_s < self._counted_s + _COUNT_S:
            return News(skipped, None, self._said())
        self._counted_s = now_s
        return News(skipped, self._counts(), self._said())


class OutletProgram:
    """Answers every message."""

    inplace = False
    redoable = True
    blames_senders = True

    def __init__(self, outlet: Outlet, fanin: Fanin, identity: StageIdentity) -> None:
        self._outlet = outlet
        self._fanin = fanin
        self._identity = identity

    def order(self, following: dict[int, int]) -> Arrival[Any] | InOrder[Any] | InTurn[Any]:
        """Return the order in which batches are taken."""
        return self._fanin.order(following)

    def run(self, port: Port) -> None:
        """Answer until there are no more messages."""
        self._identity.enter(port)
        port.loaded()
        while self._answer(port):
            pass

    def _answer(self, port: Port) -> bool:
        error = None
        try:
            batches = port.take()
        except UnloadableError as unloadable:
            batches, error = unloadable.batches, unloadable
        if batches is None:
            return False
        port.count(sum(len(batch.items) for batch in batches))
        self._outlet.answer(batches, error)
        del batches, error
        port.commit()
        return True
