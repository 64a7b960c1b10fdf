"""Pipelines of processes (or threads) and queues, as the standard library's documentation writes them.

A process per stage, a queue in front of each, None ends a stream. A class with `put` and `get` becomes a rival by
the method `queue`; its file tells the chosen bound.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.rivals.rival import Flow, Link, Rival

LARGE_BYTES = 1_000_000


def feed(flow: Flow, outboxes: list[Any]) -> None:
    """The source's process: every item into every queue."""
    for x in flow.plain():
        for outbox in outboxes:
            outbox.put(x)
    for outbox in outboxes:
        outbox.put(None)


def stage(fn: Callable[[Any], Any], inbox: Any, outbox: Any) -> None:
    """A stage's process."""
    while (x := inbox.get()) is not None:
        outbox.put(fn(x))
    outbox.put(None)


def join(fn: Callable[[Any, Any], Any], left: Any, right: Any, outbox: Any) -> None:
    """The process behind two branches."""
    while (x := left.get()) is not None:
        outbox.put(fn(x, right.get()))
    assert right.get() is None, "the branches are not of one length"
    outbox.put(None)


def echo(inbox: Any, outbox: Any) -> None:
    """The other end of a ping-pong."""
    while (x := inbox.get()) is not None:
        outbox.put(x)


class QueueRival(Rival):
    """Pipelines over any queue with `put` and `get`. The processes are forked: the quickest start, without pickling."""

    context: Any = multiprocessing.get_context("fork")

    def queue(self, nbytes: int) -> Any:
        """A bounded queue for items of `nbytes`."""
        raise NotImplementedError

    def start(self, target: Callable[..., None], *args: Any) -> Any:
        """Run `target` in another process; returns an object with `join`."""
        process = self.context.Process(target=target, args=args, daemon=True)
        process.start()
        return process

    def let_go(self) -> None:
        """Everything has arrived: processes that have waited for that may end."""

    def arrivals(self, queue: Any, ends: int, running: list[Any]) -> Iterator[Any]:
        """The items out of a queue, until so many writers have ended."""
        while ends:
            x = queue.get()
            if x is None:
                ends -= 1
            else:
                yield x
        self.let_go()
        for process in running:
            process.join()

    def chain(self, flow: Flow) -> Iterator[Any]:
        queues = [self.queue(flow.nbytes) for _ in range(len(flow.stages) + 1)]
        running = [self.start(feed, flow, queues[:1])]
        running += [self.start(stage, *ends) for ends in zip(flow.stages, queues, queues[1:], strict=False)]
        return self.arrivals(queues[-1], 1, running)

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        inboxes, out = [self.queue(flow.nbytes) for _ in flow.stages], self.queue(flow.nbytes)
        running = [self.start(feed, flow, inboxes)]
        running += [self.start(stage, fn, inbox, out) for fn, inbox in zip(flow.stages, inboxes, strict=True)]
        return self.arrivals(out, len(flow.stages), running)

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        out = self.queue(flows[0].nbytes)
        return self.arrivals(out, len(flows), [self.start(feed, flow, [out]) for flow in flows])

    def diamond(self, flow: Flow, fn: Callable[[Any, Any], Any]) -> Iterator[Any]:
        inboxes, between = ([self.queue(flow.nbytes) for _ in flow.stages] for _ in range(2))
        out = self.queue(flow.nbytes)
        running = [self.start(feed, flow, inboxes)]
        running += [self.start(stage, *ends) for ends in zip(flow.stages, inboxes, between, strict=True)]
        running.append(self.start(join, fn, *between, out))
        return self.arrivals(out, 1, running)

    @contextmanager
    def ping_pong(self, nbytes: int) -> Iterator[Link]:
        there, back = self.queue(nbytes), self.queue(nbytes)
        process = self.start(echo, there, back)

        def call(x: Any) -> Any:
            there.put(x)
            return back.get()

        try:
            yield call
        finally:
            there.put(None)
            self.let_go()
            process.join()
