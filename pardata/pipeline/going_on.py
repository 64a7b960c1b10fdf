"""A run with a checkpoint: it begins at the last cut, and notes the next ones.

A stage with a state, and each sink, tells where it is whenever a cut has come to it (`pipeline.programs.cuts`). When
what they have told fits together to a cut through the whole graph (`pipeline.plan.cut_line`), its states and the files
of the sinks are flushed, and the cut is committed; those before the last two are forgotten.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from pardata.checkpoint import folder as folders
from pardata.checkpoint.fingerprint import digest, digest_of_array, digest_of_items
from pardata.checkpoint.folder import Folder
from pardata.checkpoint.outputs import check_apart, check_begun, check_done, identity_of
from pardata.errors import ConfigError
from pardata.memory.disk import rename_new, sync, sync_directory
from pardata.pipeline.file_sink import FileSink
from pardata.pipeline.plan.cut_line import Cut, CutLine, CutStage
from pardata.pipeline.plan.cuts import Cuts, Told
from pardata.pipeline.plan.file_writer import FileWriter
from pardata.pipeline.plan.node import Kind
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.resumable import check_resumable
from pardata.pipeline.plan.stage import Stage
from pardata.pipeline.programs.cuts import is_whole, read_state, state_name
from pardata.pipeline.programs.generator import can_restore
from pardata.pipeline.programs.sink import takes_part
from pardata.pipeline.queue_items import QueueItems
from pardata.pipeline.run import Elsewhere, RunOptions, is_elsewhere, start
from pardata.pipeline.source_items import RowsOfFile
from pardata.runtime.events import CutPassed
from pardata.runtime.progress import RunReport


def run_on(plan: Plan, engine: str | Elsewhere, options: RunOptions, folder: Any, restart: bool) -> RunReport:
    """Run a plan from its last cut to its end; return the report of this part, or that of a run that is done."""
    folders.check_restart(folder, restart)
    if folder is None:
        return start(plan, engine, options).finish()
    if is_elsewhere(engine):  # the stages at home are made from the nodes of the plan, without what belongs to its cuts
        raise ConfigError(
            'checkpoint=: a run on a cluster cannot go on after a kill: leave it out, or run with engine="processes"'
        )
    checkpoint = StreamCheckpoint(plan, options, folder, restart)
    try:
        report = checkpoint.report
        if report is None:
            report = start(plan, engine, checkpoint.options).finish()
        checkpoint.finish(report)
        return report
    finally:
        checkpoint.close()


class StreamCheckpoint:
    """The checkpoint of a run.

    Attributes
    ----------
    options : RunOptions
        Those of the user, with the seed of the first call.
    report : RunReport, optional
        Of a run that has come to its end.

    Raises
    ------
    ConfigError
        The plan cannot be run with a checkpoint; the folder belongs to another one, or is in use; a file is gone.
    """

    def __init__(self, plan: Plan, options: RunOptions, folder: Any, restart: bool) -> None:
        check_resumable(plan, lambda items: isinstance(items, QueueItems), can_restore)
        self._plan = plan
        self._stages = [stage for stage in plan.stages if stage.kind in (Kind.GENERATOR, Kind.SINK)]
        self._sources = [stage for stage in plan.stages if stage.kind is Kind.SOURCE]
        parts = [(f"stage {stage.name!r}", _digest_of(stage)) for stage in plan.stages]
        writers: list[Any] = [stage.fn for stage in self._stages if isinstance(stage.fn, FileWriter)]
        check_apart(folder, [writer.path for writer in writers if writer.path])
        parts += [] if options.seed is None else [("the seed", digest(options.seed))]
        self._folder = Folder(folder, "run", parts, restart, {"seed": options.random_seed})
        self._lock = threading.Lock()
        self.report: RunReport | None = None
        try:
            for stage in plan.stages:
                if isinstance(stage.fn, FileWriter):
                    stage.fn = stage.fn.going_on(self._folder.begun(stage.fn.path))
            self._begin()
        except BaseException:
            self.close()
            raise
        self.options = replace(options, on_cut=self.note)
        object.__setattr__(self.options, "random_seed", self._folder.extra["seed"])

    # -- the begin -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Find the cut at which the run begins."""
        state = next((state for state in self._folder.states() if self._has_all(state)), None)
        if state is None and self._folder.state is not None:
            raise ConfigError(
                f"checkpoint={self._folder.path!r}: the states of its stages are gone or torn, or of an older "
                f"version; restart=True begins again"
            )
        self._folder.go_back_to(state)
        state = state or {}
        starts = {index: (tuple(taken), made) for index, taken, made in state.get("stages", ()) if any(taken)}
        told = [CutStage(stage.index, self._plan.origins(stage), stage.own_sequence) for stage in self._stages]
        self._line = CutLine(told, starts)
        self._before = self._line.cut
        if "report" in state:
            self.report = pickle.loads(base64.b64decode(state["report"]))
        for stage in self._files():
            if self.report is None:
                stage.fn.check_free()
            if stage.index in starts and self._has_begun(stage.index, starts[stage.index]):
                check_begun(self._folder.path, stage.fn.part)
        self._forget(name for name in os.listdir(self._folder.path) if name.startswith("stage-"))
        self._plan.cuts = Cuts(self._folder.path, os.getpid(), folders.CUT_S, self._line.cut.numbers, starts)

    def _files(self) -> list[Any]:
        """Return the stages that write new files."""
        return [stage for stage in self._stages if isinstance(stage.fn, FileWriter) and stage.fn.part is not None]

    def _has_begun(self, stage: int, told: Told) -> bool:
        """Return whether the sink of a new file had made that at a cut."""
        _, _, has_ended, data = read_state(self._folder.file(state_name(stage, told[0])))
        return has_ended or pickle.loads(data) is not None

    def _has_all(self, state: Any) -> bool:
        """Return whether all that a state refers to is whole; those of older versions have other numbers."""
        if "report" in state:
            return True
        return "sources" in state and all(
            is_whole(self._folder.file(state_name(index, taken)))
            for index, taken, _ in state["stages"]
            if any(taken) and _has_state(self._plan.stages[index])
        )

    # -- cuts ----------------------------------------------------------------------------------------------------------

    def note(self, event: CutPassed) -> None:
        """Take in how far a stage is; commit the newest cut, if there is one. Any thread may call."""
        with self._lock:
            found = self._line.note(event.stage, event.taken, event.made)
            if found is not None and self._folder.is_free:
                self._commit(found)

    def _commit(self, cut: Cut) -> None:
        state = {
            "sources": [(stage.name, cut.numbers[stage.own_sequence or 0]) for stage in self._sources],
            "stages": [(index, *told) for index, told in sorted(cut.stages.items())],
        }
        data = [
            self._folder.file(state_name(index, taken))
            for index, (taken, _) in cut.stages.items()
            if any(taken) and _has_state(self._plan.stages[index])
        ]
        parts = [stage.fn.part for stage in self._files() if os.path.exists(stage.fn.part)]
        # From here on the new cut counts. What only older ones need is removed behind this, not before.
        self._folder.commit(state, data + parts)
        # The cut before the last is kept: the last state may be torn by a power cut, and then that one counts.
        old, self._before = self._before, self._line.cut
        dropped = self._line.commit(cut)
        self._forget(_names_of(old) | {state_name(*told) for told in dropped})

    def _forget(self, names: Iterable[str]) -> None:
        """Remove states, but for those of the last two cuts."""
        for name in set(names) - _names_of(self._line.cut) - _names_of(self._before):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._folder.file(name))

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self, report: RunReport) -> None:
        """Give the files their names. Killed between two of the steps, the next call does the rest."""
        state: dict[str, Any] = {"report": base64.b64encode(pickle.dumps(report)).decode()}
        before = self._folder.state or {}
        is_finished, files = before.get("finished", False), before.get("files", {})
        if self.report is None:
            self._folder.commit(state, [stage.fn.part for stage in self._files()])
        for writer in [stage.fn for stage in self._files()]:
            if not is_finished and os.path.exists(writer.part):
                # The contents before the name: nobody finds a file of that name which is not whole.
                sync(writer.part)
                (rename_new if isinstance(writer, FileSink) else os.replace)(writer.part, writer.path)
                sync_directory(writer.path)
            else:
                check_done(self._folder.path, writer.path, files.get(writer.path))
        if not is_finished:
            files = {stage.fn.path: identity_of(stage.fn.path) for stage in self._files()}
            # Behind all names: without this the next call goes through them again.
            self._folder.commit({**state, "finished": True, "files": files})
        for name in os.listdir(self._folder.path):  # no state refers to those of cuts any more
            if name.startswith("stage-"):
                os.unlink(self._folder.file(name))

    def close(self) -> None:
        """Let others use the folder."""
        self._folder.close()


def _names_of(cut: Cut) -> set[str]:
    """Return the names of the states at a cut."""
    return {state_name(index, taken) for index, (taken, _) in cut.stages.items()}


def _has_state(stage: Stage) -> bool:
    return stage.kind is Kind.GENERATOR or takes_part(stage.fn)


def _digest_of(stage: Stage) -> str:
    """Return the digest of a stage: its own part of the fingerprint."""
    node, items = stage.node, _contents(stage)
    inputs = [(edge.stage.index, edge.branch) for edge in stage.edges]
    policy = (node.on_error.errors, node.on_error.retries, stage.fanin.policy, node.branches, node.arrays)
    return digest(stage.kind.value, inputs, policy, items)


def _contents(stage: Stage) -> Any:
    items: Any = stage.fn
    if stage.kind is not Kind.SOURCE:
        return items
    if isinstance(items, RowsOfFile):
        found = os.stat(items.path)
        return items.path, found.st_size, found.st_mtime_ns
    if hasattr(items, "dtype") and hasattr(items, "shape"):
        return digest_of_array(items)
    if isinstance(items, Sequence):
        return digest_of_items(items)
    return items
