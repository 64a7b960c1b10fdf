"""Wait for the ends of workers that were asked to end, and make those end that do not."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Callable, Iterable
from typing import Final

from pardata.process.ending import EXIT_S
from pardata.runtime.supervised import Worker

RUN_CALLS_S: Final = 2.0  # for calls that are under way when a run is left: `close` and `finally` come behind them
POOL_CALLS_S: Final = 0.5  # for those of a pool that is ended before its work is done: nobody wants their results
TERMINATE_S: Final = 1.0  # from SIGTERM to SIGKILL
_SLACK_S: Final = 0.5  # a worker ends itself after EXIT_S; this is for one that cannot


def wait_for_ends(
    workers: Iterable[Worker], calls_s: float, hear: Callable[[Worker], None], watch: Callable[[Worker], None]
) -> None:
    """Return when no worker has a process any more.

    A worker has `calls_s` to come back from the call that is under way, then SIGTERM and `TERMINATE_S`, then SIGKILL;
    while the user's clean-up or its exit functions run, `EXIT_S` since they began. Its events are heard meanwhile.
    """
    begin_s = time.monotonic()
    sent: dict[Worker, signal.Signals] = {}
    while alive := [worker for worker in workers if worker.is_alive]:
        due_s = [_press(worker, begin_s + calls_s, sent) for worker in alive]
        _sleep(alive, min(due_s), hear, watch)


def _press(worker: Worker, until_s: float, sent: dict[Worker, signal.Signals]) -> float:
    """Send a worker the signal that its time asks for, once; return when to look at it again (time.monotonic)."""
    since_s = worker.exits_since_s
    if since_s is not None:
        steps = [(since_s + EXIT_S + _SLACK_S, signal.SIGKILL)]
    else:
        steps = [(until_s, signal.SIGTERM), (until_s + TERMINATE_S, signal.SIGKILL)]
    now_s = time.monotonic()
    for at_s, number in steps:
        # Each signal is sent once; behind SIGKILL nothing is left to do but to wait for the kernel.
        if sent.get(worker) in (number, signal.SIGKILL):
            continue
        if now_s < at_s:
            return at_s
        assert worker.process is not None
        worker.process.signal(number)
        sent[worker] = number
    return float("inf")


def _sleep(
    alive: list[Worker], until_s: float, hear: Callable[[Worker], None], watch: Callable[[Worker], None]
) -> None:
    """Sleep until a worker says something or ends, or until that time."""
    calls: dict[int, tuple[Callable[[Worker], None], Worker]] = {}
    for worker in alive:
        assert worker.process is not None
        calls[worker.control.fileno()] = hear, worker
        calls[worker.process.sentinel] = watch, worker
    poll = select.poll()
    for fd in calls:
        poll.register(fd, select.POLLIN)
    timeout_ms = None if until_s == float("inf") else max(0.0, until_s - time.monotonic()) * 1000
    for fd, _ in poll.poll(timeout_ms):
        call, worker = calls[fd]
        call(worker)
