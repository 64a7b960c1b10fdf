"""The counts of a run: the report at its end."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

from pardata.errors import ConfigError
from pardata.memory.budget import format_bytes
from pardata.runtime.faults import Fault
from pardata.runtime.node_statistics import NodeStatistics, lines_of
from pardata.runtime.recording.page import as_page
from pardata.runtime.recording.record import Surroundings
from pardata.runtime.recording.saving import write_text
from pardata.runtime.recording.trace import as_trace
from pardata.runtime.report_page import as_html
from pardata.runtime.text_table import table

_MOST_SKIPPED_SHOWN: Final = 20


@dataclass
class StageStatistics:
    """Counts of one stage, summed over its workers.

    Attributes
    ----------
    workers : int
        With workers="auto", those that it had at the end.
    items : int
        Taken in; of a source, sent.
    dropped, failed : int
        Let go by a filter; skipped because of an error.
    bytes : int
        Sent on: arrays and messages, whether or not they were copied.
    busy_s, starved_s, blocked_s, ended_s : float
        In the stage's function; waiting for input; waiting for a token, memory or a free worker behind; over, while
        others of the run were not. Without the start of the workers that is the time of the run, for each of them. A
        serial run waits for nothing: it counts `busy_s` only.
    restarts : int
        Workers that died and were replaced.
    """

    name: str
    workers: int
    items: int = 0
    dropped: int = 0
    failed: int = 0
    bytes: int = 0
    busy_s: float = 0.0
    starved_s: float = 0.0
    blocked_s: float = 0.0
    ended_s: float = 0.0
    restarts: int = 0


class Skipped(NamedTuple):
    """An item that was dropped because of an error in a stage with ``errors="skip"``.

    Attributes
    ----------
    stage : str
    number : int
        Of the item, counted from 0 at its source.
    item : str
        The item in short, as its `repr` shows it.
    error : str
        The type and the text of the exception.
    traceback : str
        That of the worker.

    Examples
    --------
    >>> report = pardata.source(["1", "two"]).map(float, errors="skip").run(engine="serial")
    >>> report.skipped[0].number, report.skipped[0].error
    (1, "ValueError: could not convert string to float: 'two'")
    """

    stage: str
    number: int
    item: str
    error: str
    traceback: str


def skipped_of(fault: Fault) -> Skipped:
    """Return what is kept of a fault."""
    return Skipped(fault.stage, fault.number, fault.item, fault.error, fault.trace)


@dataclass(repr=False)
class RunReport:
    """The counts of a run. ``print(report)`` shows them as a table, and so does a notebook.

    Attributes
    ----------
    stages : list of StageStatistics
        In the order of the plan: each behind those that it reads.
    seconds : float
    skipped : list of Skipped
    nodes : list of NodeStatistics
        Of a run on a cluster: in the order in which they came. Empty: all stages ran on this machine.
    surroundings : Surroundings
        The graph, the memory limit, and the record of a run with ``record=True``: what `save` and `trace` draw.

    Examples
    --------
    >>> import pardata
    >>> report = pardata.source(["1", "two"]).map(int, errors="skip").run(engine="serial")
    >>> report.stages[1].failed, report.skipped[0].item
    (1, "'two'")
    """

    stages: list[StageStatistics]
    seconds: float
    skipped: list[Skipped] = field(default_factory=list)
    surroundings: Surroundings = field(default_factory=Surroundings, repr=False, compare=False)
    nodes: list[NodeStatistics] = field(default_factory=list)

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "a report has counts, not the results: loop over the stream itself, or give them to a list, "
            "stream.to(results).run()"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all counts as dicts, lists, texts and numbers, as JSON has them.

        Returns
        -------
        dict
            "seconds"; "bottleneck"; "stages", "skipped" and "nodes": lists of dicts with the fields of
            `StageStatistics`, of `Skipped` and of `NodeStatistics`.

        Examples
        --------
        >>> import json, pardata
        >>> report = pardata.source([1, 2]).map(abs).run(engine="serial")
        >>> [stage["items"] for stage in json.loads(json.dumps(report.as_dict()))["stages"]]
        [2, 2]
        """
        return {
            "seconds": self.seconds,
            "bottleneck": self.bottleneck,
            "stages": [asdict(stage) for stage in self.stages],
            "skipped": [skipped._asdict() for skipped in self.skipped],
            "nodes": [asdict(node) for node in self.nodes],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as a page of HTML that any browser shows, from the disk and without a network.

        It has the graph with its rates, a sentence of advice, the stages, skipped items and errors. With
        ``record=True`` it also has the workers' calls, waits and shared memory over time, and the latencies.

        Parameters
        ----------
        path : path
            It must end in ``.html``; a file that is there is overwritten.

        Raises
        ------
        ConfigError
            The path has another ending; nothing was written.
        OSError
            The folder is not there, or the disk is full, or the like; a file that was there is as it was.

        Examples
        --------
        >>> import os, pardata, tempfile
        >>> report = pardata.source([1, 2]).map(abs).run(engine="serial", record=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report.save(os.path.join(folder, "run.html"))
        """
        write_text(path, ".html", "save", [as_page(self)])

    def trace(self, path: str | os.PathLike[str]) -> None:
        """Write the calls of all workers as a trace that Perfetto (https://ui.perfetto.dev) and Chromium show.

        A track per worker with a slice per call, arrows that follow an item from stage to stage, and counters for
        shared memory.

        Parameters
        ----------
        path : path
            It must end in ``.json``; a file that is there is overwritten.

        Raises
        ------
        ConfigError
            The run was not recorded, or the path has another ending; nothing was written.
        OSError
            As for `save`.

        Examples
        --------
        >>> import os, pardata, tempfile
        >>> report = pardata.source([1, 2]).map(abs).run(engine="serial", record=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report.trace(os.path.join(folder, "run.json"))
        """
        if self.surroundings.record is None:
            raise ConfigError("there is no trace of a run that was not recorded: run it with record=True")
        write_text(path, ".json", "trace", as_trace(self.surroundings))

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows."""
        return as_html(self, _MOST_SKIPPED_SHOWN)

    @property
    def workers(self) -> dict[str, int]:
        """Workers of each stage with ``workers="auto"`` at the end of the run: what to write there to have no others.

        >>> import pardata
        >>> pardata.source([1, 2]).map(abs, workers="auto").run(engine="serial").workers
        {'abs': 1}
        """
        return {stage.name: stage.workers for stage in self.stages if stage.name in self.surroundings.auto}

    @property
    def bottleneck(self) -> str | None:
        """Name of the stage whose workers were busiest: more of them, or a faster one, make the run faster.

        By the seconds in which each of its workers was busy; None before anything was done.
        """
        busiest = max(self.stages, key=lambda stage: stage.busy_s / max(1, stage.workers), default=None)
        return busiest.name if busiest is not None and busiest.busy_s > 0 else None

    def __repr__(self) -> str:
        """Return the table: what a person at a prompt wants to see."""
        return str(self)

    def __str__(self) -> str:
        head = (
            "stage", "workers", "items", "dropped", "failed", "restarts", "sent", "busy s", "starved s", "blocked s",
            "ended s",
        )  # fmt: skip
        rows = [head]
        for stage in self.stages:
            rows.append(
                (
                    stage.name,
                    str(stage.workers),
                    str(stage.items),
                    str(stage.dropped),
                    str(stage.failed),
                    str(stage.restarts),
                    format_bytes(stage.bytes),
                    f"{stage.busy_s:.2f}",
                    f"{stage.starved_s:.2f}",
                    f"{stage.blocked_s:.2f}",
                    f"{stage.ended_s:.2f}",
                )
            )
        lines = [table(rows), *lines_of(self.nodes), f"{self.seconds:.2f} s; bottleneck: {self.bottleneck or 'none'}"]
        if self.workers:
            chosen = ", ".join(f"{name} {count}" for name, count in self.workers.items())
            lines.append(f'workers="auto" came to: {chosen}')
        for skipped in self.skipped[:_MOST_SKIPPED_SHOWN]:
            lines.append(f"skipped in {skipped.stage!r}: item {skipped.number}, {skipped.item}: {skipped.error}")
        if len(self.skipped) > _MOST_SKIPPED_SHOWN:
            lines.append(f"... and {len(self.skipped) - _MOST_SKIPPED_SHOWN} more skipped items")
        return "\n".join(lines)
