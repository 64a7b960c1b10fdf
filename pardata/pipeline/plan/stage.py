"""A stage and its inputs as a run sees them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pardata.pipeline.plan.node import Kind, Node
from pardata.pipeline.plan.ordering import Fanin


@dataclass(eq=False)
class Stage:
    """A node as it is run. A plan fills it in; after that nothing changes.

    Attributes
    ----------
    edges : list
        Its inputs: each names a stage, and the new names of its sequences.
    fanin : Fanin
        The order in which it takes its input.
    ordered : bool
        Whether its output comes in the order of its numbers.
    own_sequence : int, optional
        The numbering that it begins: of a source, or of a stage that numbers items anew.
    taken_sequences, sequences : set of int
        Numberings of its input, under the names that it sees, and of its output.
    retired_sequences : set of int
        Numberings that end here: no stage behind this one knows them.
    keys : frozenset
        The stages that have given items of one number to several, or several of a number to one: streams with
        different ones cannot be zipped.
    workers : int
        Of a stage with workers="auto": as many as it may have; it begins with one.
    consumers : list of Stage
        Its readers; one that reads it twice is there twice.
    """

    index: int
    node: Node
    kind: Kind
    name: str
    workers: int
    fn: Callable[..., Any] | None
    edges: list[Edge]
    fanin: Fanin
    ordered: bool
    own_sequence: int | None = None
    taken_sequences: set[int] = field(default_factory=set)
    sequences: set[int] = field(default_factory=set)
    retired_sequences: set[int] = field(default_factory=set)
    keys: frozenset[Stage] = frozenset()
    consumers: list[Stage] = field(default_factory=list)

    @property
    def may_end_early(self) -> bool:
        """Whether it may end before its input does: a generator filter, but for those that say it never does."""
        return self.kind is Kind.GENERATOR and getattr(self.fn, "ends_early", True)

    def made_of(self, taken: int | None) -> int | None:
        """Return how many items a generator filter makes of so many; None if nobody knows, and of other stages."""
        made = getattr(self.fn, "made_of", None) if self.kind is Kind.GENERATOR else None
        return None if taken is None or made is None else made(taken)

    @property
    def upstream(self) -> set[Stage]:
        """The stage and all that its items come from."""
        seen: set[Stage] = set()
        waiting = [self]
        while waiting:
            found = waiting.pop()
            if found not in seen:
                seen.add(found)
                waiting += (edge.stage for edge in found.edges)
        return seen

    @property
    def is_sole_reader(self) -> bool:
        """Whether all that its items come from is read by nothing else."""
        above = self.upstream
        return all(reader in above for other in above if other is not self for reader in other.consumers)

    @property
    def is_auto(self) -> bool:
        """Whether the run finds out how many of its workers are in use."""
        return self.node.is_auto

    @property
    def first_workers(self) -> int:
        """The number of workers that it begins with."""
        return 1 if self.is_auto else self.workers

    @property
    def width(self) -> int:
        """The number of messages that are at work in all its workers together."""
        return self.workers * self.node.lanes

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
