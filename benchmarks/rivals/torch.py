"""`torch.multiprocessing`: its queues send tensors by a handle to shared memory, so arrays go as tensors.

A tensor can be received only while the process that has sent it lives, so processes wait until all has arrived.
`torch.from_numpy` and `Tensor.numpy` share the memory of their argument, so neither copies. The sharing strategy is
the default one (descriptors). Each process computes with one thread, as its notes on multiprocessing advise. Loops are
fed by `torch.utils.data.DataLoader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.multiprocessing
import torch.utils.data

from benchmarks.rivals.mp_queue import maxsize
from benchmarks.rivals.queues import QueueRival

torch.set_num_threads(1)
CONTEXT = torch.multiprocessing.get_context("fork")


class TensorQueue:
    """Its queue, for arrays."""

    def __init__(self, items: int) -> None:
        self._queue: Any = CONTEXT.Queue(items)

    def put(self, x: Any) -> None:
        self._queue.put(None if x is None else torch.from_numpy(x))

    def get(self) -> Any:
        x = self._queue.get()
        return None if x is None else x.numpy()


def _and_wait(arrived: Any, target: Callable[..., None], *args: Any) -> None:
    target(*args)
    arrived.wait()


class Rival(QueueRival):
    context = CONTEXT

    def __init__(self) -> None:
        self._arrived = CONTEXT.Event()

    def queue(self, nbytes: int) -> Any:
        return TensorQueue(maxsize(nbytes))

    def start(self, target: Callable[..., None], *args: Any) -> Any:
        self._arrived.clear()
        return super().start(_and_wait, self._arrived, target, *args)

    @contextmanager
    def loader(self, dataset: Any, batch_size: int, workers: int) -> Iterator[Callable[[], Iterator[Any]]]:
        made = torch.utils.data.DataLoader(dataset, batch_size, num_workers=workers, persistent_workers=True)
        yield lambda: iter(made)

    def let_go(self) -> None:
        self._arrived.set()
