"""The counts of the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pardata.memory.budget import format_bytes
from pardata.runtime.text_table import table


@dataclass
class NodeStatistics:
    """Counts of one node of a cluster, for one island: a part of the stream that ran there (docs/cluster.md).

    Attributes
    ----------
    node, island : str
        The address of the node, and the names of the stages that ran there.
    messages : int
        Sent there, whether or not an answer came.
    sent_bytes, received_bytes : int
        Over the network, as home sees it.
    redone : int
        Messages that it had when it was lost: others have done them again.
    is_lost : bool

    Examples
    --------
    >>> pardata.source([1, 2]).map(abs).run().nodes  # of a run on this machine there are none
    []
    """

    node: str
    island: str
    messages: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    redone: int = 0
    is_lost: bool = False


def lines_of(nodes: Sequence[NodeStatistics]) -> list[str]:
    """Return the table of nodes, if there are any."""
    if not nodes:
        return []
    heads = ("node", "messages", "sent", "received", "redone", "lost")
    return [table([heads, *((each.node, *counts_of(each)) for each in nodes)])]


def counts_of(node: NodeStatistics) -> tuple[str, str, str, str, str]:
    """Return the counts of a node for people: messages, sent, received, redone, lost."""
    sent, received = format_bytes(node.sent_bytes), format_bytes(node.received_bytes)
    return str(node.messages), sent, received, str(node.redone), "yes" if node.is_lost else "no"


def shown(node: str) -> str:
    """Return the name of a node as errors and outputs have it: without what makes it one that is never used again."""
    return node.partition("#")[0]
