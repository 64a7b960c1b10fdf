"""The calls of a coroutine function, in the event loop of a worker."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol

from pardata.errors import DeadlineExceeded
from pardata.pipeline.programs.context import Place, StageContext, StageIdentity
from pardata.pipeline.programs.event_loop import EventLoop
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.context import set_context
from pardata.runtime.isolation import settle


class Steps(Protocol):
    """The part of a port that is told whose code runs."""

    @property
    def index(self) -> int: ...
    @property
    def is_thread(self) -> bool: ...
    def attempt(self, sequence: int, number: int) -> None: ...
    def step(self, item: tuple[int, int]) -> None: ...
    def pause(self) -> None: ...


class _Call(NamedTuple):
    """The item of a call, as its context knows it."""

    place: Place


class Calls:
    """Makes calls of `fn`, up to a number at a time; the result of one is a list of one.

    Attributes
    ----------
    count : int
        Calls that were asked for and have not ended.
    most : int
        So many are made at a time.
    is_alone : bool
        One call is made at a time, as one of them has killed the processes before (until `makes_one_call` of the port
        is false). It is not said to pause: if the process dies while it is awaited, it is to blame.
    """

    def __init__(
        self,
        fn: Callable[[Any], Coroutine[Any, Any, Any]],
        loop: EventLoop,
        concurrency: int,
        tries: int,
        timeout_s: float | None,
        identity: StageIdentity,
    ) -> None:
        self.run = loop.run
        self.count = 0
        self.most = concurrency
        self._fn = fn
        self._free = asyncio.Semaphore(concurrency)
        self.is_alone = False
        self._tries = tries
        self._timeout_s = timeout_s
        self._identity = identity

    @property
    def has_room(self) -> bool:
        """Whether a call that is asked for would begin at once."""
        return self.count < self.most

    def limit(self, most: int, is_alone: bool) -> None:
        """Make so many calls at a time from now on, when none is at work."""
        self.most, self._free, self.is_alone = most, asyncio.Semaphore(most), is_alone

    async def call(self, value: Any, place: Place, port: Steps) -> list[Any]:
        """Return the result for a value, when there is room for the call; it is tried again as often as was asked for.

        `port` is told whose code runs before each step of the call: if the process dies there, it is this item's.
        """
        context = StageContext(port.index, self._identity)
        context.at_work = _Call(place)
        async with self._free:
            port.attempt(*place[:2])  # raises the error for an item that has cost lives
            for left in range(self._tries - 1, -1, -1):
                try:
                    return await self._once(value, context, port)
                except Exception:
                    if not left:
                        raise
                    context._try_again()
        raise AssertionError

    async def _once(self, value: Any, context: StageContext, port: Steps) -> list[Any]:
        timeout_s, pause = self._timeout_s, _go_on if self.is_alone else port.pause
        try:
            async with asyncio.timeout(timeout_s) as limit:
                results = [await _stepped(self._fn(value), context, port, pause)]
        except TimeoutError:
            if not limit.expired():  # the function's own
                raise
            raise DeadlineExceeded(
                f"item {context.item} took longer than timeout_s={timeout_s:g}; its call was cancelled"
            ) from None
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise RuntimeError("the function raised CancelledError, and nobody has cancelled its call") from error
        settle(results)  # it waits for its turn, and another call may change it meanwhile
        return results


def _go_on() -> None:
    """Leave it at the item whose step was the last: if the process dies, it is to blame."""


@types.coroutine
def _stepped(
    call: Coroutine[Any, Any, Any], context: StageContext, port: Steps, pause: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """Await a call, and say before each of its steps that it is the one which runs."""
    sent: Any = None
    thrown: BaseException | None = None
    here = forked_child.generation
    sequence, number, *_ = context.at_work.place if context.at_work is not None else (0, 0)
    while True:
        port.step((sequence, number))
        set_context(context, port.is_thread)
        try:
            awaited = call.send(sent) if thrown is None else call.throw(thrown)
        except StopIteration as end:
            leave_if_forked(here)
            return end.value
        except BaseException as error:
            leave_if_forked(here, error)
            raise
        finally:
            pause()
        leave_if_forked(here)
        try:
            sent, thrown = (yield awaited), None
        except BaseException as error:
            sent, thrown = None, error
