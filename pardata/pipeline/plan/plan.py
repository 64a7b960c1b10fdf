"""The checked graph of a run. Pure: nothing here starts a process, opens a file or reads a clock.

Items are numbered where they enter: at a source, and anew behind every generator filter (its output count is its
own). All items of one numbering are a *sequence*. Within a sequence every stage sends one message for every message it
takes (an empty one where all items were dropped), so order, pairing and tokens go by number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from pardata.channel.window import Window
from pardata.errors import PlanError
from pardata.pipeline.plan.node import JOINS, Kind, Node
from pardata.pipeline.plan.ordering import Fanin, Policy

MOST_TOKENS: Final = 4096  # so that all a channel has in flight can be named in one message
_SMALL: Final = 64
_WINDOW: Final = 32


@dataclass(eq=False)
class Stage:
    """A node as it is run.

    Attributes
    ----------
    edges : list
        What it reads, one per input: the stage, and how sequences are renamed on the way.
    sequences : set of int
        Numberings of its output.
    keys : frozenset
        The stages that have given items of one number to several, or several of a number to one: streams with
        different ones cannot be zipped.
    takes_in_order : bool
        Whether it waits for the next number; else it takes what comes first.
    """

    index: int
    node: Node
    name: str
    workers: int
    fn: Callable[..., Any] | None
    edges: list[Edge] = field(default_factory=list)
    policy: Policy = "arrival"
    keys: frozenset[Stage] = frozenset()
    sequences: set[int] = field(default_factory=set)
    own_sequence: int | None = None
    takes_in_order: bool = True
    ordered: bool = True
    consumers: list[Stage] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """What the stage does."""
        return self.node.kind

    @property
    def zipped(self) -> bool:
        """Whether it takes one message of each input, of the same number."""
        return self.fanin.is_zipped

    @property
    def fanin(self) -> Fanin:
        """How it takes its input."""
        return Fanin(self.policy, 1 if self.policy == "arrival" else len(self.edges), self.takes_in_order)

    @property
    def taken_sequences(self) -> set[int]:
        """Numberings of its input, under the names that it sees."""
        return {edge.renamed.get(sequence, sequence) for edge in self.edges for sequence in edge.stage.sequences}

    @property
    def retired_sequences(self) -> set[int]:
        """Numberings that end here: nothing behind this stage knows them."""
        return self.taken_sequences if not self.consumers or self.kind is Kind.PIPE else set()

    def __repr__(self) -> str:
        return f"<Stage {self.name!r} x {self.workers}>"


@dataclass(eq=False)
class Edge:
    """One input of a stage: all items of another one, or those of one of its branches.

    `renamed` keeps items apart that meet again in a merge under the same number.
    """

    stage: Stage
    branch: int | None = None
    renamed: dict[int, int] = field(default_factory=dict)


class Plan:
    """The stages of a run in topological order.

    Parameters
    ----------
    lasts : Node
        Their output is the run's.
    is_whole : bool
        Whether it is to be run; a part of a graph can be drawn.
    iterated : bool
        Whether somebody takes the output; then there is one more stage, the consumer, in the calling process.
    """

    def __init__(self, *lasts: Node, iterated: bool, is_whole: bool = True) -> None:
        if iterated:
            lasts = (Node(Kind.MAP, "consumer", fn=_no_function, inputs=lasts),)
        self.iterated = iterated
        self.stages: list[Stage] = []
        self.roots: list[int] = []  # per sequence, the one whose tokens it uses
        self._lasts = lasts
        self._used: dict[Node, int] = {}
        self._names: dict[str, int] = {}
        self._built: dict[Node, Stage] = {}
        for node in _reachable(lasts):
            for given in node.inputs:
                self._used[given] = self._used.get(given, 0) + 1
        for last in lasts:
            self._build(last)
        if is_whole:
            self._check()
        self.chunksizes = self._chunksizes()
        self.widths = self._widths()

    @property
    def last(self) -> Stage:
        """The stage whose output is the run's: the consumer if there is one."""
        return self._edge(self._lasts[-1]).stage

    @property
    def ends(self) -> list[Stage]:
        """The stages whose output is not read."""
        return [stage for stage in self.stages if not stage.consumers]

    @property
    def worker_stages(self) -> list[Stage]:
        """The stages but the consumer."""
        return self.stages[:-1] if self.iterated else self.stages

    def window(self, tokens: int | None = None) -> Window:
        """Return how many batches of a source may be in flight; `tokens`: what the user says.

        By itself two for each worker and one for each stage. Small ones may be `_SMALL`, so that a process that gets a
        core finds something to do, and so many that the workers of a farm do while one of them is at an item that
        takes `_WINDOW` times as long, and the order is kept.
        """
        if tokens is not None:
            return Window(tokens, tokens)
        fewest = 2 * sum(stage.workers for stage in self.worker_stages) + len(self.stages)
        widest = max(stage.workers for stage in self.stages)
        return Window(fewest, min(MOST_TOKENS, max(fewest, _SMALL, _WINDOW * widest)))

    def _build(self, last: Node) -> None:
        """Make the stages of a node and of all that it reads: those first, by a list in place of calls within calls."""
        waiting = [_with_branches(last)]
        while waiting:
            node = waiting[-1]
            needed = map(_with_branches, self._joined(node).inputs)
            missing = next((given for given in needed if given not in self._built), None)
            if missing is not None:
                waiting.append(missing)
                continue
            waiting.pop()
            if node not in self._built:
                self._make(node)

    def _joined(self, node: Node) -> Node:
        """Return the node whose inputs a stage takes: its own, or the join before it."""
        is_read_by_one = len(node.inputs) == 1 and node.workers == 1 and self._used[node.inputs[0]] == 1
        if is_read_by_one and node.inputs[0].kind in JOINS:
            return node.inputs[0]  # a single worker joins its inputs itself
        return node

    def _make(self, node: Node) -> None:
        joined = self._joined(node)
        edges = [self._edge(given) for given in joined.inputs]
        stage = Stage(
            len(self.stages), node, self._name(node.name), node.workers, None if node.kind in JOINS else node.fn
        )
        stage.edges = edges
        stage.policy = joined.policy
        for edge in edges:
            edge.stage.consumers.append(stage)
        self._number(stage, joined)
        self._order(stage)
        self.stages.append(stage)
        self._built[node] = stage

    def _edge(self, node: Node) -> Edge:
        stage = self._built[_with_branches(node)]
        return Edge(stage, node.branch if stage.node.branches > 1 else None)

    def _name(self, wanted: str) -> str:
        count = self._names[wanted] = self._names.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}-{count}"

    def _number(self, stage: Stage, joined: Node) -> None:
        stage.keys = frozenset().union(*(edge.stage.keys for edge in stage.edges))
        if stage.zipped:
            self._check_zip(stage, joined)
        elif joined.kind is Kind.MERGE:
            seen: set[int] = set()
            for edge in stage.edges:
                edge.renamed = {
                    sequence: self._new_sequence(self.roots[sequence]) for sequence in edge.stage.sequences & seen
                }
                seen |= edge.stage.sequences
        elif len(stage.edges) > 1:
            self._check_turns(stage, joined)
        if stage.policy == "ordered":
            stage.keys |= {stage}
        if stage.kind in (Kind.SOURCE, Kind.PIPE):
            stage.own_sequence = self._new_sequence(None)
            stage.sequences = {stage.own_sequence}
            stage.keys = frozenset()
        else:
            stage.sequences = stage.taken_sequences

    def _check_zip(self, stage: Stage, joined: Node) -> None:
        first = stage.edges[0].stage
        others = [edge.stage for edge in stage.edges]
        does = "pairs items" if joined.kind is Kind.ZIP else "puts items in order"
        if any(other.sequences != first.sequences for other in others):
            raise PlanError(
                f"{joined.name} ({joined.where}) {does} by their number, so its streams must come from the same "
                f"source, and nothing that numbers items anew may lie in between (a generator filter, batch, window, "
                f"flat_map, concat): {', '.join(other.name for other in others)} do not"
            )
        if any(other.keys != first.keys for other in others):
            raise PlanError(
                f"{joined.name} ({joined.where}) {does} by their number, and behind a merge in the order of numbers "
                f"one number may stand for several: {', '.join(other.name for other in others)} cannot be compared"
            )

    def _check_turns(self, stage: Stage, joined: Node) -> None:
        """Refuse inputs that wait for each other: while one is read the source of both would stand still."""
        seen: set[Stage] = set()
        for edge in stage.edges:
            above = _upstream(edge.stage)
            if above & seen:
                shared = min(above & seen, key=lambda common: common.index)
                raise PlanError(
                    f"{joined.name} ({joined.where}) waits for one of its streams while others are not read, so they "
                    f"must not have a common source: {shared.name!r} is one"
                )
            seen |= above

    def _new_sequence(self, root: int | None) -> int:
        self.roots.append(len(self.roots) if root is None else root)
        return len(self.roots) - 1

    @staticmethod
    def _order(stage: Stage) -> None:
        given = all(edge.stage.ordered for edge in stage.edges)
        # A scatter waits for a free branch, and what is behind its branches may wait for the next number: that must not
        # be behind the scatter's own wait.
        restores = stage.zipped or stage.kind is Kind.SCATTER
        stage.takes_in_order = restores or (given and stage.workers == 1)
        stage.ordered = stage.kind is Kind.PIPE or restores or (stage.node.ordered and given)

    def _check(self) -> None:
        for stage in self.stages:
            if stage.node.inplace:
                self._check_inplace(stage)
            if stage.node.branches > 1:
                self._check_branches(stage)

    @staticmethod
    def _check_inplace(stage: Stage) -> None:
        for edge in stage.edges:
            readers = [
                reader
                for reader in dict.fromkeys(edge.stage.consumers)
                for other in reader.edges
                if other.stage is edge.stage and other.branch == edge.branch
            ]
            if len(readers) > 1:
                others = ", ".join(sorted({other.name for other in readers if other is not stage})) or stage.name
                raise PlanError(
                    f"stage {stage.name!r} ({stage.node.where}) wants to change its input in place, but {others} "
                    f"reads the output of {edge.stage.name!r} as well"
                )

    def _check_branches(self, stage: Stage) -> None:
        """Refuse a branch that nobody reads: its items would be lost."""
        read = {edge.branch for reader in stage.consumers for edge in reader.edges if edge.stage is stage}
        read |= {edge.branch for edge in map(self._edge, self._lasts) if edge.stage is stage}
        unread = set(range(stage.node.branches)) - read
        if unread and stage.node.errors == "stream":
            raise PlanError(
                f'stage {stage.name!r} ({stage.node.where}) has errors="stream", so both the stream and its `failed` '
                f"must be read: one of them is not"
            )
        if unread:
            raise PlanError(
                f"{stage.name} ({stage.node.where}): nobody reads branch {', '.join(map(str, sorted(unread)))} of "
                f"{stage.node.branches}"
            )

    def _chunksizes(self) -> dict[int, int | None]:
        """Return, per source or generator filter, the least chunksize asked for by a stage that its items pass."""
        sizes: dict[int, int | None] = {}
        for sequence, root in enumerate(self.roots):
            for stage in self.stages:
                passes = sequence in stage.taken_sequences or sequence == stage.own_sequence
                asked = stage.node.chunksize if passes else None
                if stage.policy == "round_robin" and sequence in stage.taken_sequences:
                    sizes[root] = 1
                if asked is not None and (stage.kind is not Kind.PIPE or sequence == stage.own_sequence):
                    sizes[root] = min(asked, sizes.get(root) or asked)
        return {root: sizes.get(root) for root in self.roots}

    def _widths(self) -> dict[int, int]:
        """Return, per source or generator filter, how many workers its items pass side by side where they are most."""
        widths = dict.fromkeys(self.roots, 1)
        for stage in self.stages:
            width = max(stage.workers, stage.node.branches if stage.kind is Kind.SCATTER else 1)
            for sequence in stage.taken_sequences:
                widths[self.roots[sequence]] = max(widths[self.roots[sequence]], width)
        return widths


def _with_branches(node: Node) -> Node:
    """Return the node that becomes a stage: for a branch, the one that has branches."""
    while node.kind is Kind.BRANCH:
        node = node.inputs[0]
    return node


def _no_function(item: Any) -> Any:
    return item


def _upstream(stage: Stage) -> set[Stage]:
    """Return a stage and all that its items come from."""
    seen: set[Stage] = set()
    waiting = [stage]
    while waiting:
        found = waiting.pop()
        if found not in seen:
            seen.add(found)
            waiting += (edge.stage for edge in found.edges)
    return seen


def _reachable(lasts: Iterable[Node]) -> Iterable[Node]:
    seen: dict[Node, None] = {}
    waiting = list(lasts)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen[node] = None
            waiting += node.inputs
    return seen
