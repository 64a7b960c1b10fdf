"""The context of a stage's calls, `pardata.worker()`: it knows the item at work, and draws random numbers for it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pardata.codec.batch_codec import Batch
from pardata.runtime.context import WorkerContext, set_context

Place = tuple[int, ...]
"""The sequence, the number and the occurrence of an item; of none: another tuple.

The occurrence tells items apart that have one number behind a merge in the order of numbers.
"""


class AtWork(Protocol):
    """The work at hand of a stage."""

    @property
    def place(self) -> Place:
        """The place of the item for which the user's code is called."""


class WorkerIdentity(Protocol):
    """A worker's place, as its port knows it."""

    @property
    def index(self) -> int: ...
    @property
    def is_thread(self) -> bool: ...


class StageContext(WorkerContext):
    """The context of one worker of a stage.

    Attributes
    ----------
    at_work : AtWork, optional
        Set for each batch, and not for each item: the item is found out when somebody asks. None: the stage is a
        source, or is set up.
    """

    def __init__(self, index: int, identity: StageIdentity) -> None:
        super().__init__(index, identity.workers, identity.name, seed=identity.seed)
        self._enter(identity.stage, 0)
        self.at_work: AtWork | None = None

    def _key(self) -> Place:
        work = self.at_work
        return (self._job,) if work is None else (self._job, *work.place)

    @property
    def item(self) -> int:
        """Number of the item that is being worked on; of a generator filter: that it has taken last. 0: of none."""
        place = () if self.at_work is None else self.at_work.place
        return place[1] if len(place) > 1 else 0


class StageIdentity(NamedTuple):
    """The part of a context that all workers of a stage have in common: `stage` is its index in the plan."""

    seed: int = 0
    stage: int = 0
    name: str = ""
    workers: int = 1

    def enter(self, worker: WorkerIdentity) -> StageContext:
        """Return the context of one worker, which `pardata.worker()` returns from now on."""
        context = StageContext(worker.index, self)
        set_context(context, worker.is_thread)
        return context


def occurrence_of(batch: Batch, index: int) -> int:
    """Return how many items in front of ``items[index]`` have its number (see `programs.joining.weave_batches`)."""
    return 0 if batch.positions is None else batch.positions[index] // batch.count


class Taken:
    """The items that a generator filter has taken: they are popped from the end of `batch`, which is reversed.

    Attributes
    ----------
    failure : BaseException, optional
        Of a stage before, which the filter has read: it ends the run, whatever the filter makes of it.
    """

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.has_ended = False
        self.failure: BaseException | None = None

    @property
    def place(self) -> Place:
        """That of the item that was taken last; () before the first, (0,) when there are no more."""
        batch = self.batch
        if batch is None or self.has_ended:
            return (0,) if self.has_ended else ()
        total = batch.count if batch.positions is None else len(batch.positions)
        index = total - len(batch.items) - 1
        return batch.sequence, batch.item_number(index), occurrence_of(batch, index)
