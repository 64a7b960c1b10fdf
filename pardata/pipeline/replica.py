"""An island as it travels to a node, and the plan of its run there. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pardata.pipeline.islands import Island, outlet_of, output_of
from pardata.pipeline.plan.node import JOINS, Kind, Node, inputs_first
from pardata.pipeline.plan.plan import Plan
from pardata.pipeline.plan.sizing import chunksizes_of, widths_of
from pardata.pipeline.plan.stage import Stage


class Replica:
    """The stages of an island as they travel to a node.

    Attributes
    ----------
    sequence : int
        The numbering of the items, as in the whole plan.
    is_in_order : bool
        See `Island`.
    """

    def __init__(self, island: Island) -> None:
        entry = island.entry
        # Its function is set on the node. Where it counts as ordered, the stages behind it wait for the next number.
        source = Node(Kind.SOURCE, entry.stage.name, None, ordered=island.is_in_order, workplace="thread")
        lasts = [*island.outlets, *island.ends]
        copies: dict[Node, Node] = {}
        for stage, _ in lasts:
            for node in inputs_first(stage.node):
                if outlet_of(node) == (entry.stage.node, entry.branch):
                    copies[node] = source
                elif node not in copies:
                    copies[node] = _copied(node, copies)
        self._lasts = [output_of(copies[stage.node], branch) for stage, branch in lasts]
        self._known = {copies[stage.node]: (stage.index, stage.name) for stage in island.stages}
        self.sequence = island.sequence
        self.is_in_order = island.is_in_order

    def __getstate__(self) -> dict[str, Any]:
        """A pickle begins with the first nodes: each would lead to its inputs, and a long chain too deep."""
        return {"_nodes": [node for last in self._lasts for node in inputs_first(last)], **self.__dict__}

    def plan(self, inlet: Any, outlet: Callable[[Any], Any]) -> IslandPlan:
        """Return the plan of a run on a node.

        Parameters
        ----------
        inlet, outlet
            The functions of its first stage, and of its last one, which takes all that leaves the island: a message of
            each outlet, and of each end behind them, together.
        """
        first = next(node for node in inputs_first(self._lasts[0]) if node.kind is Kind.SOURCE)
        object.__setattr__(first, "fn", inlet)
        # The outlet would make a join its own, and take its inputs one by one, as it does with those of "outlets".
        is_plain = len(self._lasts) == 1 and self._lasts[0].kind not in JOINS
        outlets = Node(Kind.ZIP, "outlets", None, tuple(self._lasts), policy="zip")
        given = self._lasts[0] if is_plain else outlets
        end = Node(Kind.SINK, "outlet", outlet, (given,), workplace="thread")
        plan = IslandPlan(end, iterated=False)
        plan.number_as(self._known, self.sequence)
        return plan


def _copied(node: Node, copies: dict[Node, Node]) -> Node:
    """Return the copy of a node for a replica."""
    inputs = tuple(copies[given] for given in node.inputs)
    on_error = replace(node.on_error, max_errors=None)  # home counts, as it hears of those of all nodes
    return replace(node, inputs=inputs, on_error=on_error)


class IslandPlan(Plan):
    """The plan of an island on a node: it begins with the inlet, and ends with the outlet."""

    def sends_failures(self, stage: Stage) -> bool:
        """Return True for stages of the island: home decides what becomes of a failure, so it comes in its place."""
        return stage.kind not in (Kind.SOURCE, Kind.SINK) and stage.node.branches == 1

    def fail_first(self, fail: Callable[..., object]) -> None:
        """Have the stages that items enter call `fail` in the place of their own functions."""
        for stage in self.worker_stages:
            if stage.kind in (Kind.MAP, Kind.FILTER) and all(edge.stage.kind is Kind.SOURCE for edge in stage.edges):
                stage.fn = fail

    def _check_zip(self, stage: Stage, joined: Node) -> None:
        if stage.kind is not Kind.SINK:  # the outlet takes messages together, and pairs no items
            super()._check_zip(stage, joined)

    def number_as(self, known: dict[Node, tuple[int, str]], sequence: int) -> None:
        """Give stages and items the numbers that they have in the whole plan: random numbers and errors go by them."""
        for stage in self.stages:
            stage.index, stage.name = known.get(stage.node, (stage.index, stage.name))
            stage.own_sequence = None if stage.own_sequence is None else sequence
            for name in ("taken_sequences", "sequences", "retired_sequences"):
                setattr(stage, name, {sequence} if getattr(stage, name) else set())
        self.roots = list(range(sequence + 1))
        self.chunksizes = chunksizes_of(self.stages, self.roots)
        self.widths = widths_of(self.stages, self.roots)
