"""The report of a pool: what its workers have done until now, and its pictures."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from pardata.errors import ConfigError
from pardata.runtime.node_statistics import lines_of
from pardata.runtime.recording.pool_page import as_pool_page
from pardata.runtime.recording.record import Surroundings
from pardata.runtime.recording.saving import write_text
from pardata.runtime.recording.trace import as_trace
from pardata.runtime.report_page import as_pool_html
from pardata.runtime.text_table import table


@dataclass(repr=False)
class PoolReport:
    """The counts of a pool until now. ``print(report)`` shows a line per worker, and so does a notebook.

    Attributes
    ----------
    name : str
    statistics : dict
        As `WorkerPool.statistics` returns.
    surroundings : Surroundings
        The memory limit, and the record of a pool with ``record=True``, of which `save` and `trace` draw.

    Examples
    --------
    >>> import pardata
    >>> with pardata.WorkerPool(2) as pool:
    ...     _ = list(pool.map(abs, range(100)))
    ...     report = pool.report()
    >>> len(report.statistics["workers"])
    2
    """

    name: str
    statistics: dict[str, Any]
    surroundings: Surroundings = field(repr=False, compare=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report as a page of HTML, as `RunReport.save` does; path and errors as there.

        Of a pool with ``record=True`` it has the tasks of each worker over time, the sizes of chunks, and the time at
        the end of each map in which workers were idle.
        """
        write_text(path, ".html", "save", [as_pool_page(self)])

    def trace(self, path: str | os.PathLike[str]) -> None:
        """Write the tasks of all workers as a trace, as `RunReport.trace` does; path and errors as there."""
        if self.surroundings.record is None:
            raise ConfigError("there is no trace of a pool that was not recorded: make it with record=True")
        write_text(path, ".json", "trace", as_trace(self.surroundings))

    def _repr_html_(self) -> str:
        """Return the table that a notebook shows."""
        return as_pool_html(self)

    def __repr__(self) -> str:
        """Return the table: what a person at a prompt wants to see."""
        return str(self)

    def __str__(self) -> str:
        rows = [("worker", "tasks", "worked s", "waited s", "deaths")]
        for index, worker in enumerate(self.statistics["workers"]):
            times = f"{worker['work_s']:.2f}", f"{worker['wait_s']:.2f}"
            rows.append((f"{self.name} {index}", f"{worker['tasks']:.0f}", *times, f"{worker['deaths']:.0f}"))
        parts = [table(rows), *lines_of(self.statistics.get("nodes", [])), f"{self.statistics['seconds']:.2f} s"]
        return "\n".join(parts)
