"""The chains on multiprocessing.Queue, as its documentation writes them: a process per stage, None ends the stream.

Choices, all for the rival: the processes are forked, which is its quickest start and needs no pickling of the work;
bounds measured here on 2 cores (items/s):

    maxsize         1        2        4       16       64
    800 B       5,900    8,800   12,100   16,300   15,200
    80 KB       3,000    4,000    4,200    4,300    4,500
    8 MB         24.9     27.0     27.2     14.5     13.6
    80 MB         1.8      1.8      2.0      2.0      1.2
"""

from __future__ import annotations

import itertools
import multiprocessing
from collections.abc import Iterator
from typing import Any

from benchmarks.chains import CHAINS, STAGES, Chain, measure_arrivals

LARGE_BYTES = 1_000_000
MAXSIZE_LARGE, MAXSIZE_SMALL = 4, 32


def _source(chain: Chain, seconds: float, outbox: Any) -> None:
    for x in chain.items(seconds):
        outbox.put(x)
    outbox.put(None)


def _stage(chain: Chain, inbox: Any, outbox: Any) -> None:
    while (x := inbox.get()) is not None:
        outbox.put(chain.stage(x))
    outbox.put(None)


def _arrivals(queue: Any) -> Iterator[Any]:
    while (x := queue.get()) is not None:
        yield x


def measure(name: str, seconds: float) -> dict[str, float]:
    """Run the chain of this name for `seconds`."""
    chain = CHAINS[name]
    context = multiprocessing.get_context("fork")
    maxsize = MAXSIZE_LARGE if chain.n * 8 > LARGE_BYTES else MAXSIZE_SMALL
    queues = [context.Queue(maxsize) for _ in range(STAGES + 1)]
    processes = [context.Process(target=_source, args=(chain, seconds, queues[0]), daemon=True)]
    for inbox, outbox in itertools.pairwise(queues):
        processes.append(context.Process(target=_stage, args=(chain, inbox, outbox), daemon=True))
    for process in processes:
        process.start()
    result = measure_arrivals(chain, _arrivals(queues[-1]))
    for process in processes:
        process.join()
    return result
