"""The plan of what stays at home when islands of a plan run elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pardata.pipeline.islands import Island, outlet_of, output_of
from pardata.pipeline.plan.node import Kind, Node, inputs_first
from pardata.pipeline.plan.plan import PartOf, Plan
from pardata.pipeline.plan.stage import Stage
from pardata.runtime.node_statistics import NodeStatistics
from pardata.runtime.progress import StageStatistics


def home_plan(
    plan: Plan,
    islands: list[Island],
    stand_ins: list[Node],
    away: dict[str, Callable[[], StageStatistics]],
    nodes: Callable[[], list[NodeStatistics]],
) -> Plan:
    """Return the plan of what stays at home; in the place of each island stands a stage made of its stand-in.

    Stages keep their names, numbers and numberings, so random numbers and errors are those of the whole plan.

    Parameters
    ----------
    stand_ins : list of Node
        One for each island, with its function and how many messages are away at a time; the rest is filled in.
    away, nodes : dict, callable
        See `pipeline.plan.plan.PartOf`.
    """
    made = _Home(plan, islands, stand_ins)
    home = Plan(*made.lasts(), iterated=plan.iterated)
    _number_as(home, {node: stage for stage, node in made.node_of.items()})
    home.part_of, home.cuts = PartOf(plan, away, nodes), plan.cuts
    return home


class _Home:
    """The nodes of what stays at home, made from the last ones upwards.

    Attributes
    ----------
    node_of : dict
        The new nodes of the stages that stay.
    """

    def __init__(self, plan: Plan, islands: list[Island], stand_ins: list[Node]) -> None:
        self._plan = plan
        self._stages = {stage.node: stage for stage in plan.stages}
        self._outlets = {
            (stage.node, branch): (island, index)
            for island in islands
            for index, (stage, branch) in enumerate(island.outlets)
        }
        self._owners = {stage.node: island for island in islands for stage in island.stages}
        self._stand_ins = dict(zip(islands, stand_ins, strict=True))
        self._made: dict[Node, Node] = {}
        self._placed: dict[Island, Node] = {}
        self.node_of: dict[Stage, Node] = {}

    def lasts(self) -> list[Node]:
        """Return the nodes whose output is the run's."""
        plan = self._plan
        lasts = plan.lasts[0].inputs if plan.iterated else plan.lasts
        found: dict[Node, None] = {}
        for last in lasts:
            for node in inputs_first(last):
                if node not in self._made:
                    self._made[node] = self._make(node)
            outlet = outlet_of(last)
            owner = self._owners.get(outlet[0])
            if owner is None or outlet in self._outlets:
                found[self._made[last]] = None
            elif not owner.outlets:  # else what is read of it goes on to another last one
                found[self._stand_in(owner)] = None
        return list(found)

    def _make(self, node: Node) -> Node:
        outlet = self._outlets.get(outlet_of(node))
        if outlet is not None:
            island, index = outlet
            stand_in = self._stand_in(island)
            if len(island.outlets) == 1:
                return stand_in
            return Node(Kind.BRANCH, node.name, None, (stand_in,), branch=index, where=node.where)
        if node in self._owners:
            return node  # nothing at home refers to it
        inputs = tuple(self._made[given] for given in node.inputs)
        made = node if inputs == node.inputs else replace(node, inputs=inputs)
        if node in self._stages:
            self.node_of[self._stages[node]] = made
        return made

    def _stand_in(self, island: Island) -> Node:
        if island not in self._placed:
            entry = island.entry
            given = output_of(self._made[entry.stage.node], entry.branch)
            self._placed[island] = _filled_in(self._stand_ins[island], island, given)
        return self._placed[island]


def _filled_in(node: Node, island: Island, given: Node) -> Node:
    """Return a stand-in with all that follows from its island.

    Its stage sends the items of the island away and hands on what comes back. It is like a farm to the plan: it takes
    its messages as they come. Where the island restores an order, or joins branches, it takes them by number.
    """
    entry = island.entry.stage
    restores = any(stage.ordered for stage, _ in island.outlets) and not entry.ordered
    sizes = [stage.node.chunksize for stage in island.stages if stage.node.chunksize is not None]
    return replace(
        node,
        name=island.name,
        inputs=(given,),
        ordered=any(stage.ordered for stage, _ in island.outlets),
        policy="zip" if restores or island.is_in_order else "arrival",
        branches=max(1, len(island.outlets)),
        chunksize=min(sizes, default=None),
        where=island.stages[0].node.where,
    )


def _number_as(plan: Plan, stages: dict[Node, Stage]) -> None:
    """Give the stages of a plan the names and numbers that the stages of these nodes have in another one."""
    for stage in plan.stages:
        known = stages.get(stage.node)
        if known is not None:
            stage.index, stage.name = known.index, known.name
