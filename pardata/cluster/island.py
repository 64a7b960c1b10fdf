"""The node's side: an open run of the local engine, fed message by message.

      take(number, frames) -> Line: Inlet -> ProcessRun -> Outlet -> on_answer(number, frames)

Whoever opens an island holds it; when nobody does any more, its run ends. None of its threads holds it.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial

from pardata.cluster import wire
from pardata.cluster.ends import Inlet, Outlet
from pardata.cluster.messages import Broken, IslandCode, News
from pardata.cluster.port import FINISH, Frames
from pardata.cluster.suspects import BlamedItem
from pardata.engines.processes.engine import ProcessRun
from pardata.errors import WorkerLostError
from pardata.pipeline.run import RunOptions
from pardata.runtime.carried_errors import pack_error
from pardata.runtime.events import Spoken
from pardata.runtime.progress import StageStatistics

OnAnswer = Callable[[int, Frames], None]


class Line:
    """One run of an island, from its first message to its last, in a thread of its own.

    Attributes
    ----------
    last : int
        The number of the message that came last; -1: none has.

    Parameters
    ----------
    blamed : str
        Why nodes were lost with the items of this run: the first stages fail for them.
    """

    def __init__(self, frames: Frames, memory_limit: int | None, on_answer: OnAnswer, blamed: str = "") -> None:
        code: IslandCode = wire.decode(frames)
        self.last = -1
        self.is_in_order = code.replica.is_in_order
        self._on_answer = on_answer
        self._waiting: set[int] = set()
        self._lock = threading.Lock()
        self._error: bytes | None = None
        self._inlet = Inlet(self.is_in_order, self._refuse)
        self._said: deque[Spoken] = deque()
        self._outlet = Outlet(self._inlet, code.outlets, self._answer, self._counts, self._take_said)
        options = RunOptions(
            memory_limit=memory_limit,
            stall_s=None,
            seed=code.seed,
            on_skip=self._outlet.note_skip,
            on_output=self._said.append,
        )
        plan = code.replica.plan(self._inlet, self._outlet)
        if blamed:
            plan.fail_first(partial(_fail, blamed))
        self._run = ProcessRun(plan, options)
        self._thread = threading.Thread(target=self._work, name="pardata-island", daemon=True)
        self._thread.start()

    # -- messages ------------------------------------------------------------------------------------------------------

    def take(self, number: int, frames: Frames) -> None:
        """Take in a message. If the run has failed, the answer says so."""
        self.last = max(self.last, number)
        with self._lock:
            error = self._error
            if error is None:
                self._waiting.add(number)
        if error is None:
            # If the run fails just now, `_fail` answers this number, and nobody reads what is put.
            self._inlet.put(number, frames)
        else:
            self._on_answer(number, wire.encode(Broken(error)))

    def _answer(self, number: int, frames: Frames) -> None:
        with self._lock:
            self._waiting.discard(number)
        self._on_answer(number, frames)

    def _refuse(self, number: int, error: BaseException) -> None:
        self._answer(number, wire.encode(Broken(pack_error(error))))

    # -- the run -------------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._run.finish()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = pack_error(error)
            # An answer that is on its way just now may be told twice: the first one counts (`Ledger.done`).
            waiting, self._waiting = sorted(self._waiting), set()
        for number in waiting:
            self._on_answer(number, wire.encode(Broken(self._error)))

    def _counts(self) -> list[StageStatistics]:
        return self._run.report().stages[1:-1]  # without the inlet and the outlet

    def _take_said(self) -> list[Spoken]:
        """Return what workers have said; what they said before they sent a message is there."""
        self._run.catch_up()
        return [self._said.popleft() for _ in range(len(self._said))]

    def end(self) -> None:
        """Take in no more: the run ends when all has been answered."""
        self._inlet.end()

    def join(self) -> News:
        """Wait for the end of the run; return what is left to tell."""
        self._thread.join()
        return self._outlet.news()._replace(stages=self._counts())

    def abort(self) -> None:
        """End the run, whatever it is at."""
        self._inlet.end()
        self._run.close()
        self._thread.join()


class OpenIsland:
    """The runs of one island on a node: one, but where messages come again that others have overtaken.

    A run that takes messages by number cannot take one below the last. That is needed only when a node was lost and
    this one does its work: then a run begins for it, and the one before ends with what it has.

    Parameters
    ----------
    frames : list
        The code, a `messages.IslandCode`.
    memory_limit : int, bytes, optional
        Of shared memory.
    on_answer : callable
        Told the number of a message and the frames of its answer, in any thread.
    """

    def __init__(self, frames: Frames, memory_limit: int | None, on_answer: OnAnswer) -> None:
        self._open = partial(Line, frames, memory_limit)
        self._on_answer = on_answer
        self._lines = [self._open(on_answer)]
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Frames]] = deque()  # while another run is opened for the first of them
        self._is_closed = False
        weakref.finalize(self, _abort, self._lines).atexit = False  # then all runs are closed

    def take(self, number: int, frames: Frames) -> None:
        """Take in a message, or `FINISH`, after which there is none. Never waits for a run that is opened.

        Below `FINISH` it is a `suspects.BlamedItem`, which gets a run of its own.
        """
        if number < FINISH:
            threading.Thread(target=self._fail_item, args=(number, frames), name="pardata-island-open").start()
            return
        if number == FINISH:
            threading.Thread(target=_finish, args=(self._lines, self._on_answer), name="pardata-island-end").start()
            return
        with self._lock:
            if not self._kept and self._fits(number):
                self._lines[-1].take(number, frames)
                return
            self._kept.append((number, frames))
            is_opening = len(self._kept) > 1
        if not is_opening:
            threading.Thread(target=self._go_on, name="pardata-island-open").start()

    def _fail_item(self, number: int, frames: Frames) -> None:
        """Have the run of an item end as if it had killed its workers."""
        try:
            item: BlamedItem = wire.decode(frames)
            line = self._open(lambda _, answer: self._on_answer(number, answer), blamed=item.why)
        except BaseException as error:
            self._on_answer(number, wire.encode(Broken(pack_error(error))))
            return
        with self._lock:
            # In front: the last one is the run that takes messages.
            self._lines.insert(0, line)
            is_closed = self._is_closed
        line.take(item.message.number, wire.encode(item.message))
        line.end()
        if is_closed:
            line.abort()

    def _fits(self, number: int) -> bool:
        line = self._lines[-1]
        return not line.is_in_order or number > line.last

    def _go_on(self) -> None:
        """Open runs until all messages that are kept have one."""
        is_done = False
        while not is_done:
            self._lines[-1].end()
            try:
                line = self._open(self._on_answer)
            except BaseException as error:
                self._refuse_kept(error)
                return
            with self._lock:
                # While any is kept, `take` keeps what comes behind it as well: the messages stay in their order.
                self._lines.append(line)
                while self._kept and self._fits(self._kept[0][0]):
                    line.take(*self._kept.popleft())
                is_done, is_closed = not self._kept or self._is_closed, self._is_closed
        if is_closed:
            line.abort()

    def _refuse_kept(self, error: BaseException) -> None:
        with self._lock:
            kept, self._kept = self._kept, deque()
        for number, _ in kept:
            self._on_answer(number, wire.encode(Broken(pack_error(error))))

    def close(self) -> None:
        """End the runs, whatever they are at. Returns when their processes are gone; one that is opened follows."""
        with self._lock:
            self._is_closed = True
            lines = list(self._lines)
        for line in lines:
            line.abort()


def _fail(why: str, *_: object) -> None:
    raise WorkerLostError(why)


def _finish(lines: list[Line], on_answer: OnAnswer) -> None:
    for line in lines:
        line.end()
    news = [line.join() for line in lines]
    skipped = [event for told in news for event in told.skipped]
    said = [event for told in news for event in told.said]
    on_answer(FINISH, wire.encode(News(skipped, add_counts([told.stages or [] for told in news]), said)))


def _abort(lines: list[Line]) -> None:
    """End runs, in threads of their own: the garbage collector may call this anywhere."""
    for line in lines:
        threading.Thread(target=line.abort, name="pardata-closer").start()


def add_counts(parts: list[list[StageStatistics]]) -> list[StageStatistics]:
    """Return the sums of the counts of several runs, stage by stage."""
    sums: dict[str, StageStatistics] = {}
    for part in parts:
        for stage in part:
            known = sums.get(stage.name)
            sums[stage.name] = stage if known is None else _added(known, stage)
    return list(sums.values())


def _added(one: StageStatistics, other: StageStatistics) -> StageStatistics:
    names = [field.name for field in fields(StageStatistics) if field.name != "name"]
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in names})
