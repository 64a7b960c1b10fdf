"""Pipelines of processes (or threads) and queues, as the standard library's documentation writes them.

A process per stage, a queue in front of each, None ends a stream. What has `put` and `get` becomes a rival by three
functions; its file says what it chose.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.rivals.rival import Flow, Link, Rival

LARGE_BYTES = 1_000_000


def feed(flow: Flow, wrap: Callable[[Any], Any], outboxes: list[Any]) -> None:
    for x in flow.plain():
        for outbox in outboxes:
            outbox.put(wrap(x))
    for outbox in outboxes:
        outbox.put(None)


def stage(
    fn: Callable[[Any], Any], wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any], inbox: Any, out: Any
) -> None:
    while (x := inbox.get()) is not None:
        out.put(wrap(fn(unwrap(x))))
    out.put(None)


def _join(
    join: Callable[[Any, Any], Any],
    wrap: Callable[[Any], Any],
    unwrap: Callable[[Any], Any],
    inboxes: list[Any],
    out: Any,
) -> None:
    left, right = inboxes
    while (x := left.get()) is not None:
        out.put(wrap(join(unwrap(x), unwrap(right.get()))))
    assert right.get() is None, "the branches are not of one length"
    out.put(None)


def _echo(inbox: Any, outbox: Any) -> None:
    while (x := inbox.get()) is not None:
        outbox.put(x)


def same(x: Any) -> Any:
    """What most queues do to an array before they send it."""
    return x


class QueueRival(Rival):
    """Whatever has `put` and `get`. The processes are forked: their quickest start, without pickling the work."""

    context: Any = multiprocessing.get_context("fork")
    wrap: Callable[[Any], Any] = staticmethod(same)  # an array to what is sent
    unwrap: Callable[[Any], Any] = staticmethod(same)

    def queue(self, nbytes: int, writers: int = 1) -> Any:
        """A bounded queue for items of `nbytes`."""
        raise NotImplementedError

    def start(self, target: Callable[..., None], *args: Any) -> Any:
        """Run `target` in another process; what is returned has `join`."""
        process = self.context.Process(target=target, args=args, daemon=True)
        process.start()
        return process

    def let_go(self) -> None:
        """Everything has arrived: processes that have waited for that may end."""

    def _arrivals(self, queue: Any, ends: int, running: list[Any]) -> Iterator[Any]:
        while ends:
            x = queue.get()
            if x is None:
                ends -= 1
            else:
                yield self.unwrap(x)
        self.let_go()
        for process in running:
            process.join()

    def chain(self, flow: Flow) -> Iterator[Any]:
        queues = [self.queue(flow.nbytes) for _ in range(len(flow.stages) + 1)]
        running = [self.start(feed, flow, self.wrap, queues[:1])]
        for fn, inbox, outbox in zip(flow.stages, queues, queues[1:], strict=False):
            running.append(self.start(stage, fn, self.wrap, self.unwrap, inbox, outbox))
        return self._arrivals(queues[-1], 1, running)

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        inboxes = [self.queue(flow.nbytes) for _ in flow.stages]
        out = self.queue(flow.nbytes, len(flow.stages))
        running = [self.start(feed, flow, self.wrap, inboxes)]
        for fn, inbox in zip(flow.stages, inboxes, strict=True):
            running.append(self.start(stage, fn, self.wrap, self.unwrap, inbox, out))
        return self._arrivals(out, len(flow.stages), running)

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        out = self.queue(flows[0].nbytes, len(flows))
        return self._arrivals(out, len(flows), [self.start(feed, flow, self.wrap, [out]) for flow in flows])

    def diamond(self, flow: Flow, join: Callable[[Any, Any], Any]) -> Iterator[Any]:
        inboxes, between = ([self.queue(flow.nbytes) for _ in flow.stages] for _ in range(2))
        out = self.queue(flow.nbytes)
        running = [self.start(feed, flow, self.wrap, inboxes)]
        for fn, inbox, outbox in zip(flow.stages, inboxes, between, strict=True):
            running.append(self.start(stage, fn, self.wrap, self.unwrap, inbox, outbox))
        running.append(self.start(_join, join, self.wrap, self.unwrap, between, out))
        return self._arrivals(out, 1, running)

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        there, back = self.queue(nbytes), self.queue(nbytes)
        process = self.start(_echo, there, back)

        def call(x: Any) -> Any:
            there.put(self.wrap(x))
            return self.unwrap(back.get())

        try:
            yield call
        finally:
            there.put(None)
            self.let_go()
            process.join()
