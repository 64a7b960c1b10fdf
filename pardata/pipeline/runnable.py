"""The half of a stream that runs it and shows it; `pipeline.stream` has the half that adds stages."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

from pardata.errors import ConfigError
from pardata.pipeline import run as running
from pardata.pipeline.async_iteration import iterate_in_loop
from pardata.pipeline.dry_run_report import DryRun
from pardata.pipeline.going_on import run_on
from pardata.pipeline.islands import stages_away
from pardata.pipeline.never_run import has_run, note_made, note_run, note_used
from pardata.pipeline.plan.draw import as_svg, as_text
from pardata.pipeline.plan.node import Node
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.run import STALL_S, Engine, Run, RunOptions, plan_of, start
from pardata.runtime.option_names import OF_STAGES, tells_options
from pardata.runtime.progress import RunReport


class Runnable:
    """A graph of stages that can be run, tried with one item, and drawn."""

    def __init__(self, node: Node) -> None:
        if not isinstance(node, Node):
            raise ConfigError("a stream is made by pardata.source(items)")
        self._node = node
        note_made(node)

    @tells_options(OF_STAGES)
    def iterate(
        self,
        *,
        engine: Engine = "processes",
        progress: Any = False,
        tokens: int | None = None,
        memory_limit: float | str | None = None,
        max_restarts: int | None = None,
        stall_s: float | None = STALL_S,
        seed: int | None = None,
        record: bool = False,
        dashboard: bool = False,
        cores: int | None = None,
    ) -> Run:
        """Start a run and return it: an iterator over the items, and a context manager that ends the run.

        Parameters
        ----------
        engine : "processes", "threads", "serial", "dask", "ray", or `pardata.cluster.Dask`, `pardata.cluster.Ray`
            "serial" runs everything in the calling thread, one item after the other: for debugging, and the
            reference for the others.
            "dask" and "ray" run stages on the machines of a cluster (docs/cluster.md).
        progress : bool, or a class or function like tqdm
            Show a bar per stage. The class or function stays in this process.
        tokens : int, 1 to 4096, optional
            Messages of one source that may be in flight; default: 2 x workers + stages, and where messages are small
            64, or 32 for each worker of the widest stage.
        memory_limit : int, bytes, or a size such as "2GB", optional
            Shared memory that the run may hold, its tables and channels included; default: half of the memory that is
            available. A loop over the stream keeps the item that it is at: it needs one more than `run`.
        max_restarts : int, optional
            How many killed workers are replaced before the run fails; default: any number.
        stall_s : float, seconds, optional
            After this long without progress one warning says which stage waits for which; None: never.
        seed : int, at least 0, optional
            Of `pardata.worker().random`, which is then the same for an item in every run, whatever the engine, the
            workers, the messages and the kills; default: another one for every run.
        record : bool
            Keep what each worker did when, for ``report.save("run.html")`` and ``report.trace("run.json")``. Above
            20,000 messages of a stage that is a uniform sample. It takes 1.5 MB per worker and 20 MB in all at most.
        dashboard : bool
            Record, and serve the page of `report.save` to a browser on this machine while the run goes on: its address
            is printed to standard error, and is ``run.dashboard``.
        cores : int, optional
            Worker processes that the stages with ``workers="auto"`` and those with workers of their own have together;
            sources, joins and threads do not count. Default: the cores that this process may use; if that is too few,
            each stage with ``workers="auto"`` has one worker.

        Raises
        ------
        ConfigError
            A stage's function cannot be pickled, the plan is wrong (`PlanError`), or an argument is; nothing was
            started.
        MissingExtraError
            ``dashboard=True`` without ``pardata[http]``.
        CapacityError
            The run does not fit `memory_limit`, or the system's limits of descriptors and processes.

        Examples
        --------
        >>> import pardata
        >>> with pardata.source([1, 4, 9]).map(abs).iterate() as run:
        ...     print(next(run), next(run))
        1 4
        """
        note_run(self._node)
        options = RunOptions(
            progress=progress, tokens=tokens, memory_limit=memory_limit, max_restarts=max_restarts, stall_s=stall_s,
            seed=seed, record=record, dashboard=dashboard, cores=cores,
        )  # fmt: skip
        return start(plan_of(self._node, iterated=True, options=options), engine, options)

    @tells_options(OF_STAGES)
    def run(
        self,
        *,
        engine: Engine = "processes",
        progress: Any = False,
        tokens: int | None = None,
        memory_limit: float | str | None = None,
        max_restarts: int | None = None,
        stall_s: float | None = STALL_S,
        seed: int | None = None,
        record: bool = False,
        dashboard: bool = False,
        cores: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        restart: bool = False,
    ) -> RunReport:
        """Run to the end, drop the output, and return the report. When it returns, no process of the run is left.

        Parameters
        ----------
        engine, progress, tokens, memory_limit, max_restarts, stall_s, seed, record, dashboard, cores
            As for `iterate`.
        checkpoint : path of a folder, optional
            The run notes there how far it is, about once in a second. After a kill, a power cut or an error the same
            call goes on. See docs/checkpoints.md.
        restart : bool
            Begin again, whatever is in the folder.

        Returns
        -------
        RunReport
            Per stage: items, bytes, and seconds of work and of waiting; and the items that were skipped.

        Raises
        ------
        ConfigError, CapacityError
            As for `iterate`.
        WorkerLostError, DeadlineExceeded
            A stage has lost its workers for good, or its last try has taken longer than its `timeout_s`.
        Exception
            An exception of the user's code is raised as its own type, with a note of stage and item and the remote
            traceback.

        Examples
        --------
        >>> import pardata
        >>> report = pardata.source([1, 2, 3]).map(float).run()
        >>> [(stage.name, stage.items) for stage in report.stages]
        [('source', 3), ('float', 3)]
        """
        note_run(self._node)
        options = RunOptions(
            progress=progress, tokens=tokens, memory_limit=memory_limit, max_restarts=max_restarts, stall_s=stall_s,
            seed=seed, record=record, dashboard=dashboard, cores=cores,
        )  # fmt: skip
        return run_on(plan_of(self._node, iterated=False, options=options), engine, options, checkpoint, restart)

    def __iter__(self) -> Iterator[Any]:
        """Run the stream and yield its items; leaving the loop ends the run."""
        with self.iterate() as run:
            yield from run

    def aiter(self, *, engine: Engine = "processes", **options: Any) -> AsyncIterator[Any]:
        """Run the stream, and return its items for an ``async for`` loop: the event loop goes on meanwhile.

        An item is taken when the loop asks for it. The run ends with the loop: at its last item, at an exception or a
        cancellation within it, and soon after a ``break``; at once with `contextlib.aclosing`.

        Parameters
        ----------
        engine, **options
            As for `iterate`.

        Returns
        -------
        AsyncIterator

        Raises
        ------
        ConfigError, CapacityError
            As for `iterate`.
        Exception
            The loop raises what ``next(run)`` raises (see `Run`).

        Examples
        --------
        >>> import asyncio, pardata
        >>> async def total():
        ...     return sum([item async for item in pardata.source([1, 2, 3]).map(float).aiter()])
        >>> asyncio.run(total())
        6.0
        """
        note_run(self._node)
        try:
            made = RunOptions(**options)
        except TypeError as error:  # it names the method that was called
            raise TypeError(str(error).replace(RunOptions.__init__.__qualname__, "Stream.aiter")) from None
        return iterate_in_loop(partial(start, plan_of(self._node, iterated=True, options=made), engine, made))

    def dry_run(self, *items: Any) -> DryRun:
        """Run one item through all stages, in the calling thread, and return the outputs of each.

        Parameters
        ----------
        *items
            One for each source, in the order in which they are needed; without any, the first of each source. Sinks
            are left out.

        Returns
        -------
        DryRun
            ``print`` shows, per stage, shape, dtype and bytes of its outputs, and the seconds it took; "nothing" for
            a stage that one item is not enough for, as behind ``skip(1)``, and those behind it.

        Raises
        ------
        ConfigError
            The number of items is not that of the sources, or a source can be read only once.

        Examples
        --------
        >>> import numpy as np, pardata
        >>> pardata.source(np.zeros((5, 3))).map(np.sqrt).dry_run().edges[-1].first
        'float64 (3,)'
        """
        note_used(self._node)
        return running.dry_run(Plan(self._node, iterated=False), items)

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Write a picture of the graph to an SVG file. What would run on the nodes of a cluster has a broken frame.

        Parameters
        ----------
        path : path
            It must end in ``.svg``; a file that is there is overwritten.

        Raises
        ------
        ConfigError
            The path has another ending; nothing was written.
        """
        if not os.fspath(path).endswith(".svg"):
            raise ConfigError(f"draw({str(path)!r}): pictures are SVG files: the path must end in .svg")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self._repr_svg_())

    def _repr_svg_(self) -> str:
        """Return the picture that a notebook shows."""
        note_used(self._node)
        plan = Plan(self._node, iterated=False, is_whole=False)
        return as_svg(plan, stages_away(plan))

    def __str__(self) -> str:
        """Return the graph as text: a line per stage, from the sources down; ``○`` runs on the nodes of a cluster.

        Of a sink that writes a file it says that one thread, or one process, does.
        """
        note_used(self._node)
        plan = Plan(self._node, iterated=False, is_whole=False)
        return as_text(plan, stages_away(plan))

    def __repr__(self) -> str:
        note_used(self._node)
        return f"<{type(self).__name__} {' <- '.join(_chain(self._node))}{'' if has_run(self._node) else ' (not run)'}>"


def _chain(node: Node) -> list[str]:
    names = [node.name]
    while len(node.inputs) == 1:
        node = node.inputs[0]
        names.append(node.name)
    if node.inputs:
        names.append(f"({', '.join(given.name for given in node.inputs)})")
    return names
