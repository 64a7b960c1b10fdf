"""A cluster in this process, which loses nodes and answers, delays, doubles and reorders."""

import threading
from collections.abc import Callable

import pardata
from pardata.cluster.engine import ClusterEngine, Connection
from pardata.cluster.opening import HeldIsland, island_of
from pardata.cluster.port import FINISH, Frames, NodeJoined, NodeLost, PortEvent, Returned


def _sent(frames):
    """Return frames as they arrive: in memory of this process, where NumPy's arrays are born in blocks."""
    with pardata.in_shared_memory():
        return [frame if isinstance(frame, bytes) else frame.copy() for frame in frames]


class FakePort:
    """Islands in this process, one for each node.

    Parameters
    ----------
    nodes : int
    on_call : callable, optional
        Told each call before it is made: (port, node, number). It may call `lose`.
    twice : bool
        Each answer comes twice.
    """

    def __init__(self, nodes=2, on_call: Callable[["FakePort", str, int], None] | None = None, twice=False):
        self.wanted, self.on_call, self.twice = nodes, on_call, twice
        self.islands: dict[str, HeldIsland] = {}
        self.lost: list[HeldIsland] = []
        self.calls: list[tuple[str, int]] = []
        self.serial = 0
        self.sent: Frames = []  # the last call

    def open(self, code: Frames, on_event: Callable[[PortEvent], None]) -> None:
        self.code, self.on_event = code, on_event
        for _ in range(self.wanted):
            self.join()

    def join(self):
        node = f"node{self.serial}"
        self.serial += 1
        self.islands[node] = island_of(list(self.code), None, lambda number, frames: self._tell(node, number, frames))
        self.on_event(NodeJoined(node, 1 << 30))

    def _tell(self, node, number, frames):
        for _ in range(2 if self.twice else 1):
            self.on_event(Returned(node, number, _sent(frames)))

    def call(self, node: str, number: int, frames: Frames) -> None:
        self.calls.append((node, number))
        self.sent = frames
        if self.on_call is not None and number != FINISH:
            self.on_call(self, node, number)
        island = self.islands.get(node)
        if island is not None:
            island.take(number, _sent(frames))

    def lose(self, node, joins=True):
        """Lose a node; late answers of it may still come."""
        if node in self.islands:
            self.lost.append(self.islands.pop(node))
            self.on_event(NodeLost(node, "it was lost by a test"))
            if joins:
                threading.Thread(target=self.join, name="pardata-test-join").start()

    def close(self) -> None:
        for island in [*self.islands.values(), *self.lost]:
            island.close()
        self.islands, self.lost = {}, []


class FakeCluster(ClusterEngine):
    """The engine over fake ports; those of the last run are in `ports`."""

    def __init__(self, **options):
        self.options, self.ports = options, []

    def connect(self):
        self.ports = []

        def new_port(islands):
            self.ports.append(FakePort(**self.options))
            return self.ports[-1]

        return Connection(new_port)
