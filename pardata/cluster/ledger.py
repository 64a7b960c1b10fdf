"""Decides which message goes to which node, and what becomes of those that a lost node had. Pure.

| event | what follows |
|---|---|
| `add` a message | it waits; the smallest number that fits is sent to the node with the most free credits |
| `join` a node | it has its credits, and messages that wait are sent to it |
| `done` by a node | the first answer to a number counts, and its credit is free; any other is dropped |
| `lose` a node | its messages wait again, in front, as their numbers are the smallest |
| a message has cost two nodes | it is a suspect, and handed back: whoever has sent it adds it again, or its parts |
| a suspect is added | it goes alone: its node gets nothing else until the answer |
| a message has cost three nodes | it is blamed, and not sent again |
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

SUSPECT_AFTER: Final = 2  # nodes; one may be lost for any reason
BLAMED_AFTER: Final = 3  # as items of local workers: `process.lifecycle.DEATHS_PER_ITEM`
_FEW: Final = 64  # entries that no longer hold, which are not worth a new heap

_Entry = tuple[int, int, str]  # of a node: its credits that are taken, less all of them; its bytes; its name


class Send(NamedTuple):
    """A message is to be sent to a node."""

    node: str
    number: int


class Loss(NamedTuple):
    """The messages of a lost node that are not simply sent again: the blamed and the suspects."""

    blamed: list[int]
    suspects: list[int]


@dataclass(eq=False)
class _Sending:
    nbytes: int
    cost: int  # nodes


@dataclass(eq=False)
class _Node:
    credits: int
    most_bytes: int
    at: set[int] = field(default_factory=set)
    nbytes: int = 0
    has_suspect: bool = False

    @property
    def has_room(self) -> bool:
        is_full = self.has_suspect or len(self.at) >= self.credits or self.nbytes >= self.most_bytes
        # A node that has nothing may get any message, also one that is larger than all its credits.
        return not self.at or not is_full


class _Free:
    """The nodes that have room, that with the most free credits first; of those the one with fewest bytes.

    A heap, in which an entry that no longer holds stays until it comes first, or until most of them are such.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self._entries: dict[str, _Entry] = {}
        self._heap: list[_Entry] = []

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def put(self, name: str, node: _Node) -> None:
        """Take in a node as it is now: it has room, or none any more."""
        if not node.has_room:
            self.discard(name)
            return
        self._nodes[name] = node
        self._entries[name] = entry = len(node.at) - node.credits, node.nbytes, name
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 4 * len(self._entries) + _FEW:
            self._heap = sorted(self._entries.values())

    def discard(self, name: str) -> None:
        """Forget a node."""
        if self._nodes.pop(name, None) is not None:
            del self._entries[name]

    def first(self, may_have: Callable[[_Node], bool]) -> str | None:
        """Return the first node that may have a message; None if none may."""
        passed = []
        found = None
        while self._heap and found is None:
            entry = self._heap[0]
            if self._entries.get(entry[2]) != entry:
                heapq.heappop(self._heap)
            elif may_have(self._nodes[entry[2]]):
                found = entry[2]
            else:
                passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found


class Ledger:
    """The messages of one stage that are on nodes or on their way there.

    Each node has credits in messages and in bytes, and all nodes together have `most_bytes`; a message that is larger
    goes where no other is. Illegal events (a number that is there already, a node that has joined already) raise
    ValueError and change nothing.

    Attributes
    ----------
    redone : int
        Messages that were sent once more because a node was lost.
    """

    def __init__(self, most_bytes: float = math.inf) -> None:
        self._most_bytes = most_bytes
        self._nbytes = 0  # on all nodes
        self._nodes: dict[str, _Node] = {}
        self._free = _Free()
        self._messages: dict[int, _Sending] = {}
        self._waiting: list[int] = []  # a heap
        self.redone = 0

    @property
    def nodes(self) -> list[str]:
        """The nodes that are there."""
        return list(self._nodes)

    @property
    def count(self) -> int:
        """Messages that have no answer yet."""
        return len(self._messages)

    @property
    def has_room(self) -> bool:
        """Whether a further message would be sent at once; with no node one may wait for the first that joins."""
        if not self._nodes:
            return not self._messages
        return not self._waiting and self._nbytes < self._most_bytes and bool(self._free)

    def node_of(self, number: int) -> str | None:
        """Return the node that has a message."""
        return next((name for name, node in self._nodes.items() if number in node.at), None)

    def add(self, number: int, nbytes: int, cost: int = 0) -> list[Send]:
        """Take in a message that has cost so many nodes."""
        if number in self._messages:
            raise ValueError(f"message {number} is there already")
        self._messages[number] = _Sending(nbytes, cost)
        heapq.heappush(self._waiting, number)
        return self.send()

    def join(self, node: str, credits: int, most_bytes: int) -> list[Send]:
        """Take in a node."""
        if node in self._nodes:
            raise ValueError(f"node {node!r} has joined already")
        joined = self._nodes[node] = _Node(credits, most_bytes)
        self._free.put(node, joined)
        return self.send()

    def done(self, node: str, number: int) -> tuple[bool, list[Send]]:
        """Take in an answer; return whether it is the first for its number, and what is sent now."""
        at = self._nodes.get(node)
        if at is None or number not in at.at:  # the node counts as lost, or has answered twice
            return False, []
        self._take_from(at, number)
        self._free.put(node, at)
        del self._messages[number]
        return True, self.send()

    def lose(self, node: str) -> Loss:
        """Take in the loss of a node. `send` follows, when suspects that go first are added."""
        lost = self._nodes.pop(node, None)
        if lost is None:
            return Loss([], [])
        self._free.discard(node)
        self._nbytes -= lost.nbytes
        blamed: list[int] = []
        suspects: list[int] = []
        for number in sorted(lost.at):
            message = self._messages[number]
            message.cost += 1
            self.redone += message.cost < BLAMED_AFTER
            if message.cost < SUSPECT_AFTER:
                heapq.heappush(self._waiting, number)
                continue
            del self._messages[number]
            (blamed if message.cost >= BLAMED_AFTER else suspects).append(number)
        return Loss(blamed, suspects)

    def _take_from(self, node: _Node, number: int) -> None:
        node.at.discard(number)
        node.nbytes -= self._messages[number].nbytes
        self._nbytes -= self._messages[number].nbytes
        node.has_suspect = False  # a suspect was alone there

    def send(self) -> list[Send]:
        """Assign messages that wait, the smallest number first; one that fits nowhere holds up those behind it."""
        # Or small ones would pass a large one for ever, and where order is kept nothing behind it could come out.
        sends = []
        while self._waiting:
            number = self._waiting[0]
            message = self._messages[number]
            name = self._node_for(message)
            if name is None:
                break
            heapq.heappop(self._waiting)
            node = self._nodes[name]
            node.at.add(number)
            node.nbytes += message.nbytes
            self._nbytes += message.nbytes
            # `_node_for` has found a node without messages for it, and none is added until its answer.
            node.has_suspect = message.cost >= SUSPECT_AFTER
            self._free.put(name, node)
            sends.append(Send(name, number))
        return sends

    def _node_for(self, message: _Sending) -> str | None:
        """Return the node with the most free credits that may have a message; None: it waits."""
        if self._nbytes and self._nbytes + message.nbytes > self._most_bytes:
            return None
        is_suspect = message.cost >= SUSPECT_AFTER

        def may_have(node: _Node) -> bool:
            return not node.at or not (is_suspect or node.nbytes + message.nbytes > node.most_bytes)

        return self._free.first(may_have)
