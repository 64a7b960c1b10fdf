"""`multiprocessing.Pipe`: a connection between two neighbours, without the feeder thread of a queue.

Several writers have a pipe each, and the reader waits on all of them with `multiprocessing.connection.wait`.
"""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.rivals.queues import QueueRival, feed, stage
from benchmarks.rivals.rival import Flow


class PipeQueue:
    """A one-way pipe with the two methods of a queue."""

    def __init__(self, reader: Connection, writer: Connection) -> None:
        self.reader = reader
        self.put, self.get = writer.send, reader.recv


def _all(pipes: list[PipeQueue], running: list[Any]) -> Iterator[Any]:
    open_ends = {pipe.reader: pipe for pipe in pipes}
    while open_ends:
        for reader in wait(list(open_ends)):
            x = open_ends[reader].get()  # type: ignore[index]
            if x is None:
                del open_ends[reader]  # type: ignore[arg-type]
            else:
                yield x
    for process in running:
        process.join()


class Rival(QueueRival):
    def queue(self, nbytes: int) -> Any:
        return PipeQueue(*self.context.Pipe(duplex=False))

    def gather(self, flows: list[Flow]) -> Iterator[Any]:
        pipes = [self.queue(flow.nbytes) for flow in flows]
        return _all(pipes, [self.start(feed, flow, [pipe]) for flow, pipe in zip(flows, pipes, strict=True)])

    def broadcast(self, flow: Flow) -> Iterator[Any]:
        inboxes, out = ([self.queue(flow.nbytes) for _ in flow.stages] for _ in range(2))
        running = [self.start(feed, flow, inboxes)]
        running += [self.start(stage, *ends) for ends in zip(flow.stages, inboxes, out, strict=True)]
        return _all(out, running)
