"""A stage and its inputs as a run sees them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pardata.pipeline.plan.node import Kind, Node
from pardata.pipeline.plan.ordering import Fanin, Policy


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
