"""Cuts a plan into its islands, which run on other machines, and what stays at home. Pure.

      home:    source ──> island ──> list
                          ╱    ╲
      a node:  inlet ──> read ──> denoise ──> outlet          (the same on each node)

An island is a region of one numbering with one entry. Its stages send one message for each that they take, so a message
that goes into it comes out of it once, under the same number, on each of its outlets. It has the stages that treat each
item by itself: `map`, `filter`, and joins by number of what begins in it. All else stays at home: sources, what numbers
items anew, what shares them out, merges by arrival, and sinks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pardata.pipeline.plan.node import Kind, Node
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.stage import Edge, Stage

Opening = tuple[Stage, int | None]  # a stage, and which of its branches, None: it has one output


@dataclass(eq=False)
class Island:
    """A part of a plan that runs on each node.

    Attributes
    ----------
    entry : Edge
        The edge that leads into it.
    stages : list of Stage
        In the order of the plan.
    outlets : list
        What stages at home read; behind it, in `ends`, what nobody does.
    """

    entry: Edge
    stages: list[Stage] = field(default_factory=list)
    outlets: list[Opening] = field(default_factory=list)
    ends: list[Opening] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its stages, for errors and drawings."""
        return " + ".join(stage.name for stage in self.stages)

    @property
    def sequence(self) -> int:
        """The numbering of its items."""
        return min(self.stages[0].taken_sequences)

    @property
    def is_in_order(self) -> bool:
        """Whether messages of one number meet in it, or at its end: then it has to get them by their numbers."""
        return len(self.outlets) + len(self.ends) > 1 or any(stage.fanin.is_zipped for stage in self.stages)

    def is_entry(self, edge: Edge) -> bool:
        """Return whether an edge of a stage is the one that leads into the island."""
        return edge.stage is self.entry.stage and edge.branch == self.entry.branch


def islands_of(plan: Plan) -> list[Island]:
    """Return the islands of a plan, in the order of their first stages."""
    owners: dict[Stage, Island] = {}
    islands: dict[tuple[Stage, int | None], Island] = {}
    for stage in plan.worker_stages:
        island = _island_for(stage, owners, islands) if _may_leave(stage) else None
        if island is not None:
            island.stages.append(stage)
            owners[stage] = island
    for island in islands.values():
        _add_outlets(island, owners)
    return list(islands.values())


def stages_away(plan: Plan) -> set[Stage]:
    """Return the stages of a plan that run on the nodes of a cluster."""
    return {stage for island in islands_of(plan) for stage in island.stages}


def _may_leave(stage: Stage) -> bool:
    """Return whether a stage may run on any node, as far as can be said of it alone."""
    is_join = stage.fanin.is_zipped
    treats_each = stage.kind in (Kind.MAP, Kind.FILTER) or (is_join and stage.kind in (Kind.ZIP, Kind.MERGE))
    has_one_numbering = len(stage.taken_sequences) == 1 and not any(edge.renamed for edge in stage.edges)
    return treats_each and has_one_numbering and (is_join or len(stage.edges) == 1) and not stage.node.at_home


def _island_for(
    stage: Stage, owners: dict[Stage, Island], islands: dict[tuple[Stage, int | None], Island]
) -> Island | None:
    """Return the island that a stage belongs to, by all that it reads; None: it stays at home."""
    within = {owners[edge.stage] for edge in stage.edges if edge.stage in owners}
    if not within and len(stage.edges) == 1:
        edge = stage.edges[0]
        return islands.setdefault((edge.stage, edge.branch), Island(edge))
    if len(within) != 1:
        return None
    island = within.pop()
    return island if all(owners.get(edge.stage) is island or island.is_entry(edge) for edge in stage.edges) else None


def _add_outlets(island: Island, owners: dict[Stage, Island]) -> None:
    """Note what comes out of an island."""
    for stage in island.stages:
        readers = [(owners.get(reader) is island, edge.branch) for reader in dict.fromkeys(stage.consumers)
                   for edge in reader.edges if edge.stage is stage]  # fmt: skip
        for branch in range(stage.node.branches) if stage.node.branches > 1 else [None]:
            if (False, branch) in readers:
                island.outlets.append((stage, branch))
            elif (True, branch) not in readers:
                island.ends.append((stage, branch))


def outlet_of(node: Node) -> tuple[Node, int | None]:
    """Return the stage's node and the branch that a node stands for; a stage with branches stands for its first."""
    stage = node.inputs[0] if node.kind is Kind.BRANCH else node
    return stage, node.branch if stage.branches > 1 else None


def output_of(node: Node, branch: int | None) -> Node:
    """Return what stands for an output of a stage."""
    return node if branch is None else Node(Kind.BRANCH, node.name, None, (node,), branch=branch, where=node.where)
