"""Home's end of the way to the islands of one stage: what is sent where, and what has come back.

      send(number) -> Ledger -> ClusterPort.call ~~> island
      await answer <- Ledger <- on_event  <~~

Events come in threads of the engine and are handled in the event loop of the stage, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

from pardata.cluster import wire
from pardata.cluster.handover import Handover
from pardata.cluster.island import add_counts
from pardata.cluster.ledger import BLAMED_AFTER, SUSPECT_AFTER, Ledger, Send
from pardata.cluster.messages import Broken, Message, News
from pardata.cluster.port import FINISH, ClusterPort, EngineLost, Frames, NodeJoined, NodeLost, PortEvent, Returned
from pardata.cluster.suspects import BlamedItem, apart, message_in, together
from pardata.errors import WorkerLostError
from pardata.runtime.carried_errors import add_note
from pardata.runtime.events import Spoken
from pardata.runtime.faults import exit_as_error
from pardata.runtime.node_statistics import NodeStatistics, shown
from pardata.runtime.progress import StageStatistics

_JOIN_S: Final = 120.0  # without any node, until the run fails: one that was restarted, or a job of a queue, may come


@dataclass(eq=False)
class _Away:
    """A message that is away: a node may be lost, so it is kept until its answer is here."""

    frames: Frames
    answer: asyncio.Future[Answered]


class Answered(NamedTuple):
    """An answer, and the node that it came from."""

    node: str
    answer: Any  # `messages.Answer`; of a pool `pool_messages.PoolAnswer`


class Crossing:
    """The messages of one stage that are away. All but `open`, `on_event`, `counts_of` and `close` is of one thread.

    Parameters
    ----------
    port : ClusterPort
    island : str
        The names of its stages.
    credits : int
        Messages that a node may have at a time.
    most_bytes : int
        Of the messages that are away, or of their answers if those are larger. A node has no more than half of its
        island's memory.
    show : callable
        Told what the workers of nodes have said.
    """

    is_alone = False  # as `pipeline.programs.calls.Calls`
    most = 2

    def __init__(
        self, port: ClusterPort, island: str, credits: int, most_bytes: int, show: Callable[[Spoken], None]
    ) -> None:
        self._show = show
        self._port = port
        self._island = island
        self.nodes: dict[str, NodeStatistics] = {}
        self._credits = credits
        self._ledger = Ledger(most_bytes)
        self._away: dict[int, _Away] = {}
        self._finishing: dict[str, asyncio.Future[News | None]] = {}
        self._events: Handover[PortEvent] = Handover(self._handle)
        self._alarm: asyncio.TimerHandle | None = None  # while there is no node
        self._over = ""  # why there will be none
        self._heaviest = 0  # bytes of a large answer, lately
        self._counts: dict[str, list[StageStatistics]] = {}

    def open(self, code: Frames) -> int:
        """Open islands; return how many there are. Raises as `ClusterPort.open`."""
        self._port.open(code, self.on_event)
        return sum(isinstance(event, NodeJoined) for event in self._events.waiting)

    def close(self) -> None:
        """End all islands."""
        self._port.close()

    def counts_of(self, name: str, workers: int) -> StageStatistics:
        """Return the counts of a stage, over all nodes."""
        found = add_counts(
            [[stage for stage in stages if stage.name == name] for stages in list(self._counts.values())]
        )
        return found[0] if found else StageStatistics(name, workers)

    # -- events --------------------------------------------------------------------------------------------------------

    def on_event(self, event: PortEvent) -> None:
        """Take in an event, in any thread."""
        self._events.put(event)

    def begin(self) -> None:
        """Handle events in the running event loop from now on."""
        self._events.open()

    def _handle(self) -> None:
        while self._events.waiting:
            event = self._events.waiting.popleft()
            if isinstance(event, NodeJoined):
                self.nodes[event.node] = NodeStatistics(event.node, self._island)
                self._on_joined(event)
                self._over = ""
            elif isinstance(event, Returned):
                self._on_returned(event)
            elif isinstance(event, NodeLost):
                self._on_lost(event)
            else:
                assert isinstance(event, EngineLost)
                self._give_up(event.why)
        self._watch_nodes()

    def _watch_nodes(self) -> None:
        """Fail if there is no node for too long."""
        if self._ledger.nodes and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        elif not self._ledger.nodes and self._alarm is None:
            why = f"all nodes are gone, and none has come for {_JOIN_S:g} s"
            self._alarm = asyncio.get_running_loop().call_later(_JOIN_S, self._give_up, why)

    def _give_up(self, why: str) -> None:
        """Fail with all messages that are away, and those that follow."""
        self._over = why
        for away in self._away.values():
            _fail(away.answer, why)
        for future in self._finishing.values():
            _settle(future, None)

    def _on_joined(self, event: NodeJoined) -> None:
        self._call(self._ledger.join(event.node, self._credits, event.memory_bytes // 2))

    def _on_returned(self, event: Returned) -> None:
        if event.number == FINISH:
            _settle(self._finishing.get(event.node), wire.decode(event.frames))
            return
        nbytes = wire.count_bytes(event.frames)
        self.nodes[event.node].received_bytes += nbytes
        self._heaviest = max(nbytes, self._heaviest * 7 // 8)
        is_first, sends = self._ledger.done(event.node, event.number)
        # In front of the answer, which takes time to be loaded here: the node works meanwhile.
        self._call(sends)
        if is_first:
            _settle_by(self._away.pop(event.number).answer, event)

    def _on_lost(self, event: NodeLost) -> None:
        _settle(self._finishing.get(event.node), None)
        redone = self._ledger.redone
        loss = self._ledger.lose(event.node)
        told = self.nodes[event.node]
        told.is_lost, told.redone = True, told.redone + self._ledger.redone - redone
        for number in loss.suspects:
            self._suspect(number)
        self._call(self._ledger.send())
        for number in loss.blamed:
            self._refuse(number, f"{BLAMED_AFTER} nodes were lost while they had this message; the last: {event.why}")

    def _suspect(self, number: int) -> None:
        """Have a suspect sent again, item by item, each alone."""
        away = self._away.pop(number)
        message = message_in(away.frames)
        parts = [] if message is None else apart(message)
        if message is None or len(parts) < 2:
            self._away[number] = away
            self._add(number, SUSPECT_AFTER)
            return
        answers = [self._begin(part.number, wire.encode(part), SUSPECT_AFTER) for part in parts]
        asyncio.gather(*answers).add_done_callback(partial(self._put_together, away.answer, message, parts))

    def _put_together(
        self, whole: asyncio.Future[Answered], message: Message, parts: list[Message], answers: asyncio.Future[Any]
    ) -> None:
        error = None if answers.cancelled() else answers.exception()
        if answers.cancelled() or error is not None:
            if error is not None and not whole.done():
                whole.set_exception(error)
            return
        found: list[Answered] = answers.result()
        telling = next((each for each in found if isinstance(each.answer, Broken) or each.answer.failures), found[-1])
        if not isinstance(telling.answer, Broken):
            for node, answer in found:
                self.note(node, answer.news)
            made = together(message, [(part, each.answer) for part, each in zip(parts, found, strict=True)])
            telling = Answered(telling.node, made)
        _settle(whole, telling)

    def _refuse(self, number: int, why: str) -> None:
        """End a message that has cost too many nodes: that of an item fails in its first stage, as home cannot know."""
        away = self._away.pop(number)
        message = message_in(away.frames)
        if message is not None:
            # Numbers of messages are not negative, so no message has this one.
            number = FINISH - 1 - number
            self._away[number] = _Away(wire.encode(BlamedItem(message, why)), away.answer)
            self._add(number, 0)
        else:  # also that has cost nodes, or it cannot be loaded here
            _fail(away.answer, why)

    def _add(self, number: int, cost: int) -> None:
        nbytes = max(wire.count_bytes(self._away[number].frames), self._heaviest)
        self._call(self._ledger.add(number, nbytes, cost))

    def _call(self, sends: list[Send]) -> None:
        for node, number in sends:
            self.nodes[node].messages += 1
            self.nodes[node].sent_bytes += wire.count_bytes(self._away[number].frames)
            # A list of its own: an island empties what it is given, and the message may have to be sent again.
            self._port.call(node, number, list(self._away[number].frames))

    # -- messages ------------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """Messages that are away."""
        return self._ledger.count

    @property
    def has_room(self) -> bool:
        """Whether a further message would be sent at once."""
        return self._ledger.has_room

    def limit(self, most: int, is_alone: bool) -> None:
        """Do nothing: it is for calls that may kill their own process."""

    def send(self, number: int, message: Any) -> asyncio.Future[Answered]:
        """Send a message; return the future of its answer."""
        return self._send_encoded(number, wire.encode(message), 0)

    def _send_encoded(self, number: int, frames: Frames, cost: int) -> asyncio.Future[Answered]:
        """Send a message that has cost so many nodes."""
        future = self._begin(number, frames, cost)
        if self._over:
            _fail(future, self._over)
        return future

    def _begin(self, number: int, frames: Frames, cost: int) -> asyncio.Future[Answered]:
        future: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._away[number] = _Away(frames, future)
        self._add(number, cost)
        return future

    def note(self, node: str, news: News) -> None:
        """Note the counts of a node, and show what its workers have said."""
        for event in news.said:
            self._show(replace(event, tag=f"{event.tag} on {shown(node)}"))
        if news.stages is not None:
            self._counts[node] = news.stages

    async def finish(self) -> list[tuple[str, News]]:
        """End all islands that are there; return what is left to tell. One that is lost meanwhile tells nothing."""
        loop = asyncio.get_running_loop()
        self._finishing = {node: loop.create_future() for node in self._ledger.nodes}
        for node in self._finishing:
            self._port.call(node, FINISH, [])
        told = [(node, await future) for node, future in self._finishing.items()]
        return [(node, news) for node, news in told if news is not None]


def _settle_by(future: asyncio.Future[Answered], event: Returned) -> None:
    """Settle the future of an answer; if that cannot be loaded here, by the error."""
    try:
        answer = wire.decode(event.frames)
    except BaseException as error:  # of code of the user's that loads it: nobody else would settle the future
        told = exit_as_error(error)
        if isinstance(told, StopIteration):  # no future takes it
            told = RuntimeError(f"StopIteration was raised: {told}")
        add_note(told, f"while an answer of node {shown(event.node)} was loaded here")
        if not future.done():
            future.set_exception(told)
    else:
        _settle(future, Answered(event.node, answer))


def _fail(future: asyncio.Future[Any], why: str) -> None:
    if not future.done():
        future.set_exception(WorkerLostError(why))


def _settle(future: asyncio.Future[Any] | None, result: Any) -> None:
    if future is not None and not future.done():
        future.set_result(result)
