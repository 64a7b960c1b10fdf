"""`torch.multiprocessing`: its queues send tensors by a handle to shared memory, so arrays go as tensors.

A tensor can be received only while the process that has sent it lives, so processes wait for the end of all.
`torch.from_numpy` and `Tensor.numpy` share the memory of their argument, so neither copies. The sharing strategy is
the default one (descriptors). Each process computes with one thread, as its notes on multiprocessing advise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing

from benchmarks.rivals.mp_queue import MAXSIZE_LARGE, MAXSIZE_SMALL
from benchmarks.rivals.queues import LARGE_BYTES, QueueRival

torch.set_num_threads(1)


def _tensor(x: Any) -> Any:
    return torch.from_numpy(x)


def _array(x: Any) -> Any:
    return x.numpy()


def _and_wait(received: Any, target: Callable[..., None], *args: Any) -> None:
    target(*args)
    received.wait()


class Rival(QueueRival):
    context = torch.multiprocessing.get_context("fork")
    wrap: Callable[[Any], Any] = staticmethod(_tensor)
    unwrap: Callable[[Any], Any] = staticmethod(_array)

    def __init__(self) -> None:
        self._received = self.context.Event()

    def queue(self, nbytes: int, writers: int = 1) -> Any:
        return self.context.Queue(MAXSIZE_LARGE if nbytes > LARGE_BYTES else MAXSIZE_SMALL)

    def start(self, target: Callable[..., None], *args: Any) -> Any:
        self._received.clear()
        return super().start(_and_wait, self._received, target, *args)

    def let_go(self) -> None:
        self._received.set()
