"""The program of a sink in a run with a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pardata.checkpoint.presence import Presence
from pardata.codec.batch_codec import Batch
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.plan.resumable import function_within
from pardata.pipeline.programs.batcher import Port
from pardata.pipeline.programs.context import StageContext
from pardata.pipeline.programs.cuts import present, read_state, state_path, write_state
from pardata.pipeline.programs.item import ItemProgram
from pardata.pipeline.programs.reached import Reached
from pardata.pipeline.programs.user_code import failure_of
from pardata.process import forked_child
from pardata.process.forked_child import leave_if_forked
from pardata.runtime.events import CutPassed


def takes_part(fn: object) -> bool:
    """Return whether a sink has `commit` and `restore`: it can say where it is, and go back there."""
    return committing(fn) is not None


def committing(fn: object) -> Any:
    """Return what has `commit` and `restore`: a sink, or the object whose method it is; None: neither has them."""
    fn = function_within(fn)
    for owner in (fn, getattr(fn, "__self__", None)):
        if callable(getattr(owner, "commit", None)) and callable(getattr(owner, "restore", None)):
            return owner
    return None


class SinkProgram(ItemProgram):
    """A sink that tells the main process how far it is.

    One with `commit` and `restore` loses what it has not committed if its process is killed: then the run ends, and the
    same call goes on at the last cut.
    """

    def __init__(self, cuts: SinkCuts, *options: Any) -> None:
        super().__init__(*options)
        self.redoable = not cuts.commits
        self._cuts = cuts

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """As that of all programs, and go back to the cut."""
        with self._cuts.present(), super().opened() as fn:
            self._cuts.restore(fn)
            yield fn

    def process(self, batch: Batch, port: Port, fn: Callable[[Any], Any] | None, context: StageContext) -> Batch:
        """Do a batch; in front of one behind a cut, say so."""
        reached = self._cuts.reached
        self._cuts.tell(port, fn, reached.pass_cut(batch))
        reached.take(batch)
        return super().process(reached.trimmed(batch), port, fn, context)

    def end(self, port: Port, fn: Any) -> None:
        """Say that all is done."""
        self._cuts.tell(port, fn, self._cuts.reached.end())


class SinkCuts:
    """The cuts that a sink has passed.

    Attributes
    ----------
    reached : Reached
        How far it is.
    commits : bool
        It has `commit` and `restore`.
    """

    def __init__(self, cuts: Cuts, stage: int, reached: Reached, name: str, commits: bool) -> None:
        self.reached = reached
        self._cuts = cuts
        self._stage = stage
        self._name = name
        self.commits = commits

    def present(self) -> contextlib.closing[Presence]:
        """Say that this worker is at work, until the end of the block."""
        return contextlib.closing(present(self._cuts.folder, self._cuts.owner))

    def restore(self, fn: Any) -> None:
        """Have a sink go back to the cut at which the run begins."""
        if not self.commits:
            return
        start, state = self._cuts.starts.get(self._stage), None
        if start is not None:
            position, state = read_state(state_path(self._cuts.folder, self._stage, start[0]))
            self.reached.go_on(position)
        self._call(committing(fn).restore, state)

    def tell(self, port: Port, fn: Any, taken: tuple[int, ...] | None) -> None:
        """At a cut, have a sink commit what it was given, and tell that this is done."""
        if taken is None:
            return
        if self.commits:
            state = self.reached.position, self._call(committing(fn).commit)
            # In front of the report: the main process may commit the cut as soon as it hears of it.
            write_state(state_path(self._cuts.folder, self._stage, taken), state)
        port.report(CutPassed(self._stage, taken, 0))

    def _call(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        here = forked_child.generation
        try:
            return fn(*arguments)
        except (Exception, SystemExit) as error:
            leave_if_forked(here, error)
            raise failure_of(error, self._name) from None
