"""The program of a sink in a run with a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pardata.checkpoint.presence import Presence
from pardata.codec.batch_codec import CUT, Batch
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.programs.batcher import Port
from pardata.pipeline.programs.context import StageContext
from pardata.pipeline.programs.cuts import present, read_state, state_path, write_state
from pardata.pipeline.programs.item import ItemProgram
from pardata.pipeline.programs.user_code import failure_of
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.events import CutPassed


def takes_part(fn: object) -> bool:
    """Return whether a sink has `commit` and `restore`: it can say where it is, and go back there."""
    return callable(getattr(fn, "commit", None)) and callable(getattr(fn, "restore", None))


class SinkProgram(ItemProgram):
    """A sink that tells the main process how far it is.

    One with `commit` and `restore` loses what it has not committed if its process is killed: then the run ends, and the
    same call goes on at the last cut.
    """

    def go_on(self, cuts: Cuts, stage: int) -> None:
        """Take in where the run begins."""
        self.redoable = not takes_part(self.fn)
        self._cuts = SinkCuts(cuts, stage, self.name, takes_part(self.fn))

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """As that of all programs, and go back to the cut."""
        with self._cuts.present(), super().opened() as fn:
            self._cuts.restore(fn)
            yield fn

    def process(self, batch: Batch, port: Port, fn: Callable[[Any], Any] | None, context: StageContext) -> Batch:
        """Do a batch; in front of one behind a cut, say so."""
        if batch.cell & CUT:
            self._cuts.tell(port, fn, batch.number)
        self._cuts.behind = batch.number + batch.count
        return super().process(batch, port, fn, context)

    def end(self, port: Port, fn: Any) -> None:
        """Say that all is done."""
        self._cuts.tell(port, fn, self._cuts.behind)


class SinkCuts:
    """The cuts that a sink has passed.

    Attributes
    ----------
    behind : int
        Number of the next item.
    """

    def __init__(self, cuts: Cuts, stage: int, name: str, commits: bool) -> None:
        start = cuts.starts.get(stage)
        self.behind = self._begin = 0 if start is None else start[0]
        self._cuts = cuts
        self._stage = stage
        self._name = name
        self._commits = commits

    def present(self) -> contextlib.closing[Presence]:
        """Say that this worker is at work, until the end of the block."""
        return contextlib.closing(present(self._cuts.folder, self._cuts.owner))

    def restore(self, fn: Any) -> None:
        """Have a sink go back to the cut at which the run begins."""
        if self._commits:
            path = state_path(self._cuts.folder, self._stage, self._begin)
            self._call(fn.restore, read_state(path) if self._begin else None)

    def tell(self, port: Port, fn: Any, taken: int) -> None:
        """Have a sink commit what it was given, and tell that all items below a number are done."""
        if taken <= self._begin:
            return
        if self._commits:
            write_state(state_path(self._cuts.folder, self._stage, taken), self._call(fn.commit))
        port.report(CutPassed(self._stage, taken, 0))

    def _call(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        here = forked_child.generation
        try:
            return fn(*arguments)
        except (Exception, SystemExit) as error:
            leave_if_forked(here, error)
            raise failure_of(error, self._name) from None
