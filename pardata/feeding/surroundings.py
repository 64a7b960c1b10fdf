"""The state of a process that a dataset's code uses: random generators, `pardata.worker()`, torch's worker info."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pardata.feeding.seeds import ITEM, words_of
from pardata.runtime.context import WorkerContext, of_thread, set_context, worker


def seed_generators(seed: int, purpose: int, *numbers: int) -> int:
    """Seed the global generators of Python, NumPy and, if it is loaded, torch; return the seed of torch's."""
    words = words_of(seed, purpose, *numbers)
    number = (words[1] << 32 | words[0]) >> 1
    random.seed(number)
    np.random.seed(words)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.default_generator.manual_seed(number)  # `torch.manual_seed` takes ten times as long, for other devices
    return number


def set_worker_info(index: int, workers: int, seed: int, dataset: Any) -> None:
    """Have `torch.utils.data.get_worker_info` return these, if torch is loaded: as in a worker of its DataLoader."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    holder = torch.utils.data._utils.worker
    holder._worker_info = holder.WorkerInfo(id=index, num_workers=workers, seed=seed, dataset=dataset)


class ItemContext(WorkerContext):
    """The context of a loader's worker, `pardata.worker()`: it draws by the place of the item in its epoch.

    Attributes
    ----------
    position : int
        The place of the item at work in its epoch.
    """

    def __init__(self, outer: WorkerContext, seed: int, epoch: int) -> None:
        super().__init__(outer.index, outer.workers, outer.pool, outer.shared, seed)
        self.position = 0
        self._epoch = epoch

    def _key(self) -> tuple[int, ...]:
        return ITEM, self._epoch, self.position

    @property
    def item(self) -> int:
        """The place of the item in its epoch."""
        return self.position


@contextmanager
def item_context(seed: int, epoch: int, in_worker: bool) -> Iterator[ItemContext]:
    """Have `pardata.worker()` return a context for items; if this is no worker process, in this thread alone."""
    outer, of_this_thread = worker(), of_thread.context
    context = ItemContext(outer, seed, epoch)
    set_context(context, is_thread=not in_worker)
    try:
        yield context
    finally:
        context._leave()
        if in_worker:
            set_context(outer)
        else:
            of_thread.context = of_this_thread


class Generators:
    """The states of the global generators of somebody who uses them in turn with others."""

    def __init__(self) -> None:
        self._states: tuple[Any, ...] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Set the states as they were at the end of the last use; set the others' again afterwards."""
        others = _states()
        if self._states is not None:
            _set_states(self._states)
        try:
            yield
        finally:
            self._states = _states()
            _set_states(others)


def _states() -> tuple[Any, ...]:
    torch = sys.modules.get("torch")
    return random.getstate(), np.random.get_state(), None if torch is None else torch.get_rng_state()


def _set_states(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])
    if states[2] is not None:
        sys.modules["torch"].set_rng_state(states[2])
