"""The checked graph of a run. Pure: nothing here starts a process, opens a file or reads a clock.

Items are numbered where they enter: at a source, and anew behind every generator filter (its output count is its
own). All items of one numbering are a *domain*. Within a domain every stage sends one message for every message it
takes (an empty one where all items were dropped), so order, pairing and tokens go by number alone.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pardata.errors import ConfigError, PlanError

Errors = Literal["raise", "skip"]


class Kind(enum.Enum):
    """What a node does with its inputs."""

    SOURCE = "source"
    MAP = "map"
    FILTER = "filter"
    PIPE = "pipe"
    ZIP = "zip"
    MERGE = "merge"


JOINS = (Kind.ZIP, Kind.MERGE)


@dataclass(frozen=True, eq=False)
class Node:
    """A stage as the user wrote it. Immutable; the inputs are nodes, so a cycle cannot be written down."""

    kind: Kind
    name: str
    fn: Any = None
    inputs: tuple[Node, ...] = ()
    workers: int = 1
    ordered: bool = True
    inplace: bool = False
    chunksize: int | None = None
    errors: Errors = "raise"
    where: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ConfigError(f"the name of a stage must be a str, not {self.name!r}")
        if not isinstance(self.workers, int | np.integer) or self.workers < 1:
            raise ConfigError(f"stage {self.name!r}: workers must be an int of at least 1, not {self.workers!r}")
        if self.chunksize is not None and (not isinstance(self.chunksize, int | np.integer) or self.chunksize < 1):
            raise ConfigError(
                f'stage {self.name!r}: chunksize must be "auto" or an int of at least 1, not {self.chunksize!r}'
            )
        if self.errors not in ("raise", "skip"):
            raise ConfigError(f'stage {self.name!r}: errors must be "raise" or "skip", not {self.errors!r}')
        if self.kind in (Kind.MAP, Kind.FILTER, Kind.PIPE) and not callable(self.fn):
            raise ConfigError(f"stage {self.name!r}: a function is needed, not {type(self.fn).__name__}")


@dataclass(eq=False)
class Stage:
    """A node as it is run.

    Attributes
    ----------
    edges : list
        What it reads, one per input: the stage, and how domains are renamed on the way.
    domains : set of int
        Numberings of its output.
    takes_in_order : bool
        Whether it waits for the next number; else it takes what comes first.
    """

    index: int
    node: Node
    name: str
    workers: int
    fn: Callable[..., Any] | None
    edges: list[Edge] = field(default_factory=list)
    zipped: bool = False
    domains: set[int] = field(default_factory=set)
    own_domain: int | None = None
    takes_in_order: bool = True
    ordered: bool = True
    consumers: list[Stage] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """What the stage does."""
        return self.node.kind

    @property
    def taken_domains(self) -> set[int]:
        """Numberings of its input, under the names that it sees."""
        return {edge.renamed.get(domain, domain) for edge in self.edges for domain in edge.stage.domains}

    @property
    def retired_domains(self) -> set[int]:
        """Numberings that end here: nothing behind this stage knows them."""
        return self.taken_domains if not self.consumers or self.kind is Kind.PIPE else set()

    def __repr__(self) -> str:
        return f"<Stage {self.name!r} x {self.workers}>"


@dataclass(eq=False)
class Edge:
    """One input of a stage. `renamed` keeps items apart that meet again in a merge under the same number."""

    stage: Stage
    renamed: dict[int, int] = field(default_factory=dict)


class Plan:
    """The stages of a run in topological order.

    Parameters
    ----------
    last : Node
        Its output is the run's.
    iterated : bool
        Whether somebody takes the output; then there is one more stage, the consumer, in the calling process.
    """

    def __init__(self, last: Node, iterated: bool) -> None:
        if iterated:
            last = Node(Kind.MAP, "consumer", fn=_no_function, inputs=(last,))
        self.iterated = iterated
        self.stages: list[Stage] = []
        self.roots: list[int] = []  # per domain, the one whose tokens it uses
        self._used: dict[Node, int] = {}
        self._names: dict[str, int] = {}
        self._built: dict[Node, Stage] = {}
        for node in _reachable(last):
            for given in node.inputs:
                self._used[given] = self._used.get(given, 0) + 1
        self.last = self._build(last)
        self._check()
        self.chunksizes = self._chunksizes()

    @property
    def worker_stages(self) -> list[Stage]:
        """The stages but the consumer."""
        return self.stages[:-1] if self.iterated else self.stages

    def default_tokens(self) -> int:
        """Return how many batches of a source may be in flight."""
        return 2 * sum(stage.workers for stage in self.worker_stages) + len(self.stages)

    def _build(self, node: Node) -> Stage:
        if node in self._built:
            return self._built[node]
        joined = node
        if (
            len(node.inputs) == 1
            and node.inputs[0].kind in JOINS
            and node.workers == 1
            and self._used[node.inputs[0]] == 1
        ):
            joined = node.inputs[0]  # a single worker joins its inputs itself
        inputs = [self._build(given) for given in joined.inputs]
        stage = Stage(
            len(self.stages), node, self._name(node.name), node.workers, None if node.kind in JOINS else node.fn
        )
        stage.edges = [Edge(given) for given in inputs]
        for given in inputs:
            given.consumers.append(stage)
        self._number(stage, joined)
        self._order(stage)
        self.stages.append(stage)
        self._built[node] = stage
        return stage

    def _name(self, wanted: str) -> str:
        count = self._names[wanted] = self._names.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}-{count}"

    def _number(self, stage: Stage, joined: Node) -> None:
        if joined.kind is Kind.ZIP:
            stage.zipped = True
            first = stage.edges[0].stage.domains
            if any(edge.stage.domains != first for edge in stage.edges):
                raise PlanError(
                    f"zip ({joined.where}) pairs items by their number, so its streams must come from the same "
                    f"source, and no "
                    f"generator filter may lie in between: {', '.join(edge.stage.name for edge in stage.edges)} do not"
                )
        elif joined.kind is Kind.MERGE:
            seen: set[int] = set()
            for edge in stage.edges:
                edge.renamed = {domain: self._new_domain(self.roots[domain]) for domain in edge.stage.domains & seen}
                seen |= edge.stage.domains
        if stage.kind in (Kind.SOURCE, Kind.PIPE):
            stage.own_domain = self._new_domain(None)
            stage.domains = {stage.own_domain}
        else:
            stage.domains = stage.taken_domains

    def _new_domain(self, root: int | None) -> int:
        self.roots.append(len(self.roots) if root is None else root)
        return len(self.roots) - 1

    @staticmethod
    def _order(stage: Stage) -> None:
        given = all(edge.stage.ordered for edge in stage.edges)
        stage.takes_in_order = stage.zipped or (given and stage.workers == 1)
        stage.ordered = stage.kind is Kind.PIPE or stage.zipped or (stage.node.ordered and given)

    def _check(self) -> None:
        for stage in self.stages:
            if stage.node.inplace and any(len(edge.stage.consumers) > 1 for edge in stage.edges):
                shared = next(edge.stage for edge in stage.edges if len(edge.stage.consumers) > 1)
                others = ", ".join(other.name for other in shared.consumers if other is not stage) or stage.name
                raise PlanError(
                    f"stage {stage.name!r} ({stage.node.where}) wants to change its input in place, but {others} "
                    f"reads the "
                    f"output of {shared.name!r} as well"
                )

    def _chunksizes(self) -> dict[int, int | None]:
        """Return, per source or generator filter, the least chunksize asked for by a stage that its items pass."""
        sizes: dict[int, int | None] = {}
        for domain, root in enumerate(self.roots):
            for stage in self.stages:
                passes = domain in stage.taken_domains or domain == stage.own_domain
                asked = stage.node.chunksize if passes else None
                if asked is not None and (stage.kind is not Kind.PIPE or domain == stage.own_domain):
                    sizes[root] = min(asked, sizes.get(root) or asked)
        return {root: sizes.get(root) for root in self.roots}


def _no_function(item: Any) -> Any:
    return item


def _reachable(last: Node) -> Iterable[Node]:
    seen: dict[Node, None] = {}
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += node.inputs
    return seen


def user_line() -> str:
    """Return "file:line" of the caller outside of this package."""
    package = __name__.split(".", 1)[0]
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".", 1)[0] == package:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
