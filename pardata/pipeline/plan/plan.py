"""The checked graph of a run. Pure: nothing here starts a process, opens a file or reads a clock.

Items are numbered where they enter: at a source, and anew behind every generator filter (its output count is its
own). All items of one numbering are a *sequence*. Within a sequence every stage sends one message for every message it
takes (an empty one where all items were dropped), so order, pairing and tokens go by number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from pardata.channel.window import Window
from pardata.codec.access import Access
from pardata.pipeline.plan.checks import (
    check_branches,
    check_files,
    check_inplace,
    check_positions,
    check_scatters,
    check_sequences,
    check_turns,
    check_zip,
)
from pardata.pipeline.plan.cuts import Cuts
from pardata.pipeline.plan.node import JOINS, Kind, Node, reachable, with_branches
from pardata.pipeline.plan.ordering import Fanin
from pardata.pipeline.plan.sizing import chunksizes_of, share_of, widths_of
from pardata.pipeline.plan.stage import Edge, Stage
from pardata.runtime.node_statistics import NodeStatistics
from pardata.runtime.progress import StageStatistics

MOST_TOKENS: Final = 4096  # so that all a channel has in flight can be named in one message
_SMALL: Final = 64
_WINDOW: Final = 32


class PartOf(NamedTuple):
    """The whole of which a plan is a part.

    Attributes
    ----------
    whole : Plan
    away : dict
        By the name of a stage of the whole that runs elsewhere: a function that returns its counts.
    nodes : callable
        Returns the counts of the nodes that it runs on.
    """

    whole: Plan
    away: dict[str, Callable[[], StageStatistics]]
    nodes: Callable[[], list[NodeStatistics]]


class Plan:
    """The stages of a run in topological order.

    Parameters
    ----------
    lasts : Node
        Their output is the run's.
    iterated : bool
        Whether the caller takes the output; then there is one more stage, the consumer, in the calling process.
    cores : int
        That the stages with workers="auto" share with those whose workers the user has said.
    is_whole : bool
        Whether it is to be run, and so checked; a part of a graph can be drawn.

    Attributes
    ----------
    stages : list of Stage
        Each one behind those that it reads.
    worker_stages : list of Stage
        All but the consumer.
    last : Stage
        The stage whose output is the run's: the consumer if there is one.
    roots : list of int
        Per sequence, the one whose tokens it uses.
    cuts : Cuts, optional
        Of a run that goes on after a kill: set before it begins.
    share : CoreShare
        What the stages with workers="auto" have of the cores.
    lasts : tuple of Node
        As given; of an iterated one, the consumer.
    part_of : PartOf, optional
        Of what stays at home of a plan that runs on several machines (`pipeline.home`).
    chunksizes, widths : dict
        See `pipeline.plan.sizing`.

    Raises
    ------
    PlanError
        The graph breaks one of the rules in `pipeline.plan.checks`.
    """

    def __init__(self, *lasts: Node, iterated: bool, cores: int = 1, is_whole: bool = True) -> None:
        self.share = share_of(reachable(lasts), cores)
        if iterated:
            lasts = (Node(Kind.MAP, "consumer", fn=_no_function, inputs=lasts),)
        self.iterated = iterated
        self.cuts: Cuts | None = None
        self.stages: list[Stage] = []
        self.roots: list[int] = []
        self.lasts = lasts
        self.part_of: PartOf | None = None
        self._used: dict[Node, int] = {}
        self._names: dict[str, int] = {}
        self._built: dict[Node, Stage] = {}
        for node in reachable(lasts):
            for given in node.inputs:
                self._used[given] = self._used.get(given, 0) + 1
        for last in lasts:
            self._build(last)
        self.last = self._edge(lasts[-1]).stage
        for stage in self.stages:
            if not stage.consumers or stage.kind is Kind.GENERATOR:
                stage.retired_sequences = stage.taken_sequences
        self._failure_senders: set[Stage] = set()
        for stage in reversed(self.stages):
            if any(reader.may_end_early or reader in self._failure_senders for reader in stage.consumers):
                self._failure_senders.add(stage)
        self.worker_stages = self.stages[:-1] if iterated else self.stages
        if is_whole:
            self._check()
        self.chunksizes = chunksizes_of(self.stages, self.roots)
        self.widths = widths_of(self.stages, self.roots)

    def narrow(self, most: int) -> None:
        """Let each stage with workers="auto" have `most` workers at the most: there is no room for more."""
        for stage in self.stages:
            if stage.is_auto:
                stage.workers = min(stage.workers, most)
        self.share = self.share.narrowed(most)

    @property
    def whole(self) -> Plan:
        """The plan as the user wrote it."""
        return self if self.part_of is None else self.part_of.whole

    @property
    def ends(self) -> list[Stage]:
        """The stages whose output is not read."""
        return [stage for stage in self.stages if not stage.consumers]

    @property
    def following(self) -> dict[int, int]:
        """Per sequence, the number that its items begin with; 0 where it is missing."""
        if self.cuts is None:
            return {}
        return {sequence: self.cuts.numbers.get(root, 0) for sequence, root in enumerate(self.roots)}

    def origins(self, stage: Stage) -> list[int]:
        """Return the numberings that a stage takes, under the names that they have where they begin."""
        return sorted({self.roots[sequence] for sequence in stage.taken_sequences})

    def at_work(self, stages: Iterable[Stage]) -> int:
        """Return how many workers of these stages, among them all with workers="auto", may be at work at a time."""
        said = sum(stage.workers for stage in stages if not stage.is_auto)
        return said + (self.share.together if self.share.stages else 0)

    def is_consumer(self, stage: Stage) -> bool:
        """Return whether a stage is the caller, who takes the output."""
        return self.iterated and stage is self.last

    def sends_failures(self, stage: Stage) -> bool:
        """Return whether what fails in a stage is sent at its place among the items, and ends the run when it is read.

        A generator filter behind it may end before that. Each branch of a stage gets what fails there.
        """
        return stage in self._failure_senders

    def access(self, stage: Stage) -> Access:
        """Return the access of a stage to the arrays that it receives."""
        if self.is_consumer(stage):
            return Access.RESULT
        return Access.INPLACE if stage.node.inplace else Access.READ

    def window(self, tokens: int | None = None) -> Window:
        """Return how many batches of a source may be in flight; `tokens`: as many as the user says.

        By default at least two for each worker and one for each stage; for one that awaits, a message more than it has
        calls at work. Of small batches there may be `_SMALL`, so that
        a process that gets a core finds something to do; and `_WINDOW` for each worker of the widest stage, so that
        the others go on while one of them takes `_WINDOW` times as long for an item and the order is kept.
        """
        if tokens is not None:
            return Window(tokens, tokens)
        lanes = sum(stage.width - stage.workers for stage in self.worker_stages)
        fewest = 2 * self.at_work(self.worker_stages) + lanes + len(self.stages)
        widest = max(stage.width for stage in self.stages)
        return Window(fewest, min(MOST_TOKENS, max(fewest, _SMALL, _WINDOW * widest)))

    def _build(self, last: Node) -> None:
        """Make the stages of a node and of all that it reads: those first, by a list in place of calls within calls."""
        waiting = [with_branches(last)]
        while waiting:
            node = waiting[-1]
            needed = map(with_branches, self._joined(node).inputs)
            missing = next((given for given in needed if given not in self._built), None)
            if missing is not None:
                waiting.append(missing)
                continue
            waiting.pop()
            if node not in self._built:
                self._make(node)

    def _joined(self, node: Node) -> Node:
        """Return the node whose inputs a stage takes: its own, or the join before it."""
        is_read_by_one = len(node.inputs) == 1 and node.workers == 1 == node.lanes and self._used[node.inputs[0]] == 1
        if is_read_by_one and node.inputs[0].kind in JOINS:
            return node.inputs[0]  # a single worker joins its inputs itself
        return node

    def _make(self, node: Node) -> None:
        joined = self._joined(node)
        edges = [self._edge(given) for given in joined.inputs]
        workers = self.share.each if isinstance(node.workers, str) else node.workers
        is_given_in_order = all(edge.stage.ordered for edge in edges)
        # A scatter waits for a free branch, and a stage behind its branches may wait for the next number: that must not
        # be behind the scatter's own wait.
        restores = joined.policy in ("zip", "ordered", "position") or node.kind is Kind.SCATTER
        in_order = restores or (is_given_in_order and workers * node.lanes == 1)
        fanin = Fanin(joined.policy, 1 if joined.policy == "arrival" else len(edges), in_order)
        ordered = node.kind is Kind.GENERATOR or restores or (node.ordered and is_given_in_order)
        fn = None if node.kind in JOINS else node.fn
        name = self._name(node.name)
        stage = Stage(len(self.stages), node, node.kind, name, workers, fn, edges, fanin, ordered)
        for edge in edges:
            edge.stage.consumers.append(stage)
        self._number(stage, joined)
        self.stages.append(stage)
        self._built[node] = stage

    def _edge(self, node: Node) -> Edge:
        stage = self._built[with_branches(node)]
        return Edge(stage, node.branch if stage.node.branches > 1 else None)

    def _name(self, wanted: str) -> str:
        count = self._names[wanted] = self._names.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}-{count}"

    def _number(self, stage: Stage, joined: Node) -> None:
        stage.keys = frozenset().union(*(edge.stage.keys for edge in stage.edges))
        if stage.fanin.is_zipped:
            self._check_zip(stage, joined)
        elif joined.kind is Kind.MERGE:
            seen: set[int] = set()
            for edge in stage.edges:
                edge.renamed = {
                    sequence: self._new_sequence(self.roots[sequence]) for sequence in edge.stage.sequences & seen
                }
                seen |= edge.stage.sequences
        elif joined.policy == "position":
            check_positions(stage, joined)
        elif len(stage.edges) > 1:
            check_turns(stage, joined)
        taken = [edge.renamed.get(sequence, sequence) for edge in stage.edges for sequence in edge.stage.sequences]
        stage.taken_sequences = set(taken)
        if joined.policy == "ordered":
            stage.keys |= {stage}
        if stage.kind in (Kind.SOURCE, Kind.GENERATOR):
            stage.own_sequence = self._new_sequence(None)
            stage.sequences = {stage.own_sequence}
            stage.keys = frozenset()
        else:
            stage.sequences = stage.taken_sequences

    def _check_zip(self, stage: Stage, joined: Node) -> None:
        """Raise `PlanError` for inputs that cannot be zipped; the plan of an island leaves out its end."""
        check_zip(stage, joined)

    def _new_sequence(self, root: int | None) -> int:
        self.roots.append(len(self.roots) if root is None else root)
        return len(self.roots) - 1

    def _check(self) -> None:
        for stage in self.stages:
            if stage.node.inplace:
                check_inplace(stage)
            if stage.node.branches > 1:
                taken = {edge.branch for edge in map(self._edge, self.lasts) if edge.stage is stage}
                check_branches(stage, taken)
        check_files(self.stages)
        check_sequences(self.stages)
        check_scatters(self.stages, {edge.stage for edge in map(self._edge, self.lasts) if edge.branch is not None})


def _no_function(item: Any) -> Any:
    return item
