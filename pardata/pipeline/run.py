"""One execution of a stream: its options, the object that the user holds meanwhile, and its start on an engine."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final, Literal

from pardata.errors import ConfigError, PlanError
from pardata.memory.sizes import count_bytes
from pardata.pipeline.dry_run_report import DryRun
from pardata.pipeline.lifecycle import RunEvent, RunLife, RunState
from pardata.pipeline.never_run import note_used
from pardata.pipeline.plan.file_writer import FileWriter
from pardata.pipeline.plan.node import Kind, Node, user_line
from pardata.pipeline.plan.numbers import is_count
from pardata.pipeline.plan.plan import MOST_TOKENS, Plan
from pardata.pipeline.used_sources import using_up
from pardata.process.capacity import loading
from pardata.runtime.events import CutPassed, ItemSkipped, Spoken
from pardata.runtime.library_limits import usable_cores
from pardata.runtime.progress import RunReport
from pardata.runtime.recording.page import body_of
from pardata.runtime.report_page import as_link
from pardata.runtime.stage_bars import check_progress

if TYPE_CHECKING:
    from pardata.runtime.dashboard.server import Dashboard

STALL_S: Final = 60.0


class Elsewhere(ABC):
    """An engine with options of its own: of a cluster."""

    @abstractmethod
    def start(self, plan: Plan, options: RunOptions) -> Run:
        """Start a run."""


Engine = Literal["processes", "threads", "serial", "dask", "ray"] | Elsewhere


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a run (see `Stream.iterate`)."""

    progress: Any = False
    tokens: int | None = None
    memory_limit: float | str | None = None
    max_restarts: int | None = None
    stall_s: float | None = STALL_S
    seed: int | None = None
    record: bool = False
    dashboard: bool = False
    cores: int | None = None
    on_cut: Callable[[CutPassed], None] | None = None  # of a run with a checkpoint
    on_skip: Callable[[ItemSkipped], None] | None = None  # told of failed items, in place of the report
    on_output: Callable[[Spoken], object] | None = None  # told what workers say, in place of the streams here
    random_seed: int = field(init=False)  # `seed`, or else a new one

    def __post_init__(self) -> None:
        if self.memory_limit is not None:
            try:
                object.__setattr__(self, "memory_limit", count_bytes("memory_limit", self.memory_limit))
            except ConfigError as error:
                raise PlanError(f"{user_line()}: {error}") from None
        for name, value, least in (
            ("tokens", self.tokens, 1),
            ("max_restarts", self.max_restarts, 0),
            ("seed", self.seed, 0),
            ("cores", self.cores, 1),
        ):
            if value is not None and not is_count(value, least):
                raise PlanError(f"{user_line()}: {name} must be an int of at least {least}, not {value!r}")
        check_progress(self.progress)
        for name, switch in (("record", self.record), ("dashboard", self.dashboard)):
            if not isinstance(switch, bool):
                raise PlanError(f"{user_line()}: {name} must be True or False, not {switch!r}")
        object.__setattr__(self, "record", self.record or self.dashboard)  # a page without times is not worth a look
        if self.tokens is not None and self.tokens > MOST_TOKENS:
            raise PlanError(f"{user_line()}: tokens must be at most {MOST_TOKENS}, not {self.tokens}")
        if self.stall_s is not None and not (isinstance(self.stall_s, int | float) and self.stall_s > 0):
            raise PlanError(f"{user_line()}: stall_s must be a number above 0, or None, not {self.stall_s!r}")
        seed = int.from_bytes(os.urandom(8), "little") if self.seed is None else int(self.seed)
        object.__setattr__(self, "random_seed", seed)


def plan_of(*lasts: Node, iterated: bool, options: RunOptions) -> Plan:
    """Return the plan of a run. Raises `PlanError` for a graph that cannot be run, or not on so few cores."""
    plan = Plan(*lasts, iterated=iterated, cores=options.cores or usable_cores())
    share, cores = plan.share, options.cores
    if cores is not None and share.stages and cores < share.others + share.stages:
        raise PlanError(
            f'{user_line()}: cores={cores} are too few for {_count(share.stages, "stage")} with workers="auto", which '
            f"need one worker each, and {_count(share.others, 'worker')} of others: {share.others + share.stages} are "
            f"needed"
        )
    return plan


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


class Run(Iterator[Any]):
    """One execution of a stream: an iterator over its items, and a context manager that ends it.

    `Stream.iterate` returns one. After `close` (also at the end of the ``with`` block, and when the last item was
    taken) no process of the run and no memory is left but for the arrays that are still held. Several threads may take
    items from it, each item goes to one of them, and any may close it.

    Raises
    ------
    Exception
        ``next(run)`` raises an exception of the user's code as its own type, with a note of stage and item and the
        remote traceback, and StopIteration at the end; the run is closed then.
    WorkerLostError, DeadlineExceeded
        ``next(run)``: a stage has lost its workers for good, or its last try has taken longer than its `timeout_s`.

    Examples
    --------
    >>> import pardata
    >>> with pardata.source(range(1000)).map(float).iterate() as run:
    ...     print(next(run), next(run))
    0.0 1.0
    """

    _is_over = staticmethod(sys.is_finalizing)  # for `close`: a loop that is suspended until then has nothing to end

    def __init__(self) -> None:
        self._turn = threading.RLock()  # to take or to close
        self._life = RunLife(os.getpid())

    def _check_process(self) -> None:
        """Raise RuntimeError in a forked child: it would take items of its parent's run, or wait for threads of it."""
        if os.getpid() != self._life.pid:
            raise RuntimeError(
                f"this run belongs to process {self._life.pid}, of which process {os.getpid()} was forked: "
                "start one here, or hand the items over, as with a pardata.Queue"
            )

    def _is_open(self) -> bool:
        """Return whether there is something to close; also of a run whose constructor was interrupted."""
        life = getattr(self, "_life", None)
        return life is not None and life.state is RunState.OPEN

    @property
    def dashboard(self) -> str | None:
        """The address of the page that a run with ``dashboard=True`` is shown on while it goes on; else None."""
        shown: Dashboard | None = self._life.dashboard
        return None if shown is None else shown.address

    def _show_on(self, dashboard: Dashboard) -> None:
        """Have the run shown there until its end."""
        self._life.dashboard, reference = dashboard, weakref.WeakMethod(self.report)  # a run that is dropped ends

        def report() -> RunReport | None:
            method = reference()
            return None if method is None else method()

        dashboard.follow(report)

    def _has_closed(self) -> None:
        """Note that nothing is left of the run but its report."""
        self._life.on(RunEvent.CLOSED)
        if self._life.dashboard is not None:
            self._life.dashboard.close(self.report())

    @abstractmethod
    def report(self) -> RunReport:
        """Return the counts so far: items, bytes, and seconds per stage. After `close` they are the last ones.

        Any thread may ask, also while another one takes items.

        Examples
        --------
        >>> with pardata.source(range(3)).iterate(engine="serial") as run:
        ...     print(next(run), run.report().stages[0].items)
        0 1
        """

    @abstractmethod
    def close(self) -> None:
        """End the run, finished or not. Returns when every process is gone; a second call does nothing."""

    def finish(self) -> RunReport:
        """Run to the end, drop the remaining items, close, and return the report.

        Raises
        ------
        Exception
            As ``next(run)`` does; the run is closed then, too.

        Examples
        --------
        >>> run = pardata.source(range(3)).map(abs).iterate(engine="serial")
        >>> next(run), run.finish().stages[1].items
        (0, 3)
        """
        try:
            for _ in self:
                pass
            return self.report()
        finally:
            self.close()

    def __repr__(self) -> str:
        counts = ", ".join(f"{stage.name} {stage.items}" for stage in self.report().stages)
        return f"<{type(self).__name__}, {self._life.state.value}: {counts} items>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the table of the report so far, and the way to the dashboard."""
        return as_link(self.dashboard if self._is_open() else None) + self.report()._repr_html_()

    def __del__(self, _is_over: Callable[[], bool] = sys.is_finalizing) -> None:
        """Show a run that was dropped no more."""
        if not _is_over() and self._is_open() and self._life.dashboard is not None:
            self._life.dashboard.close(self.report())

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# By name, as these are layers above: the function that starts a run on each engine, and that of a dry run.
_ENGINES: Final = {
    "processes": "pardata.engines.start:processes",
    "threads": "pardata.engines.start:threads",
    "serial": "pardata.engines.start:serial",
    "dask": "pardata.cluster.start:dask",
    "ray": "pardata.cluster.start:ray",
}
_DRY_RUN: Final = "pardata.engines.start:dry_run"


def start(plan: Plan, engine: str | Elsewhere, options: RunOptions) -> Run:
    """Start a run on an engine, and its dashboard before.

    Raises ConfigError if there is no such engine, or if the plan cannot run on it.
    """
    for stage in plan.stages:
        note_used(stage.node)
        if isinstance(stage.fn, FileWriter):
            stage.fn.check_free()
    with using_up([stage.node for stage in plan.stages if stage.kind is Kind.SOURCE]):
        return _start_shown(engine, plan, options) if options.dashboard else _start_on(engine, plan, options)


def _start_shown(engine: str | Elsewhere, plan: Plan, options: RunOptions) -> Run:
    with loading("a dashboard"):
        from pardata.runtime.dashboard.server import Dashboard  # it takes a web server with it

    dashboard = Dashboard(body_of)
    try:
        run = _start_on(engine, plan, options)
        run._show_on(dashboard)
        return run
    except BaseException:
        dashboard.close()
        raise


def is_elsewhere(engine: str | Elsewhere) -> bool:
    """Return whether an engine is that of a cluster."""
    return isinstance(engine, Elsewhere) or engine in ("dask", "ray")


def _start_on(engine: str | Elsewhere, plan: Plan, options: RunOptions) -> Run:
    if isinstance(engine, Elsewhere):
        return engine.start(plan, options)
    if not isinstance(engine, str) or engine not in _ENGINES:
        raise ConfigError(
            f'engine must be "processes", "threads", "serial", "dask" or "ray", not {engine!r}; a certain cluster is '
            f"given as pardata.cluster.Dask(client or address), pardata.cluster.Ray(address)"
        )
    run: Run = _named(_ENGINES[engine])(plan, options)
    return run


def dry_run(plan: Plan, items: tuple[Any, ...]) -> DryRun:
    """Run one item through all stages (see `Stream.dry_run`)."""
    report: DryRun = _named(_DRY_RUN)(plan, items)
    return report


def _named(name: str) -> Any:
    with loading("the first run"):
        return resolve_name(name)
