"""The port over Dask opens an island although workers go at the worst moment, and tells bad code from a lost worker."""

import asyncio
from types import SimpleNamespace

import pytest

import pardata
from pardata.cluster.port import FINISH, EngineLost, NodeJoined

pytest.importorskip("distributed")

from pardata.cluster import dask_node, opening
from pardata.cluster.dask_placed import watch
from pardata.cluster.dask_port import DaskPort

FIRST, SECOND = "tcp://10.0.0.1:1", "tcp://10.0.0.1:2"  # of one host


class Placed:
    """The future of an actor that is there."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()

    def release(self):
        pass


class FakeComm:
    """A connection over which nothing comes."""

    peer_address = FIRST

    async def write(self, message):
        assert message["op"] == dask_node.EXCHANGE

    async def read(self):
        await asyncio.Event().wait()

    def abort(self):
        pass


async def connected(address):
    return FakeComm()


class FakeClient:
    """A cluster whose first worker goes while an island is opened there; its answer is on the way, or lost."""

    status, direct_to_workers, address = "running", True, "tcp://10.0.0.1:8786"

    def __init__(self, answers):
        self._event_handlers = {}  # of Dask's own client
        self.answers = answers
        self.scheduler = self
        self.workers = [FIRST, SECOND]

    async def ncores(self):
        return dict.fromkeys(self.workers, 1)

    def submit(self, *given, **options):
        return Placed()

    def subscribe_topic(self, topic, hear):
        self.hear = self._event_handlers[topic] = hear

    def unsubscribe_topic(self, topic):
        pass

    def rpc(self, address):
        async def execute(**given):
            if address == FIRST:
                self.workers.remove(FIRST)
                await self.hear((0.0, {"action": "remove-worker", "worker": FIRST}))
                if not self.answers:
                    raise OSError("the connection is closed")
            return {"status": "OK", "result": 1000}

        return SimpleNamespace(actor_execute=execute)

    rpc.limit, rpc.open, rpc.connect, rpc.reuse = 512, 0, connected, lambda address, comm: None


@pytest.mark.parametrize("answers", [True, False])
def test_where_a_worker_goes_as_its_island_opens_another_of_the_host_has_one(answers):
    told, client = [], FakeClient(answers)

    async def fill():
        port = DaskPort(client)
        port._watch, port._on_event, port._reception = watch(client, port), told.append, SimpleNamespace(enter=int)
        port.fill_soon()
        while not told:
            await asyncio.sleep(0)
        for task in port._tasks:
            task.cancel()
        port._watch.discard(port)

    asyncio.run(fill())
    (joined,) = told
    assert isinstance(joined, NodeJoined) and joined.node.startswith(SECOND)


def test_an_event_that_comes_behind_the_last_port_finds_a_handler_and_that_of_the_user_is_back():
    client, told = FakeClient(True), []
    for handler in (None, told.append):
        if handler is not None:
            client.subscribe_topic("all", handler)
        for port in (object(), object()):
            watch(client, port).discard(port)
            client._event_handlers["all"]((0.0, {}))
        assert (client.hear is handler) == (handler is not None)
    assert len(told) == 2


def test_a_client_that_was_closed_is_told_at_once():
    told, client = [], FakeClient(True)
    port = DaskPort(client)
    port._on_event = told.append
    client.status, client.scheduler = "closed", None
    port.call("node", 3, [])
    port.fill_soon()  # as when a call fails that is away
    assert all(isinstance(event, EngineLost) and "8786 was closed: close it when" in event.why for event in told)
    assert len(told) == 2


def test_a_file_that_a_node_lacks_is_no_lost_connection(monkeypatch):
    def lacks(*given):
        raise FileNotFoundError(2, "No such file", "model.npy")

    monkeypatch.setattr(opening, "island_of", lacks)
    with pytest.raises(pardata.ConfigError, match=r"FileNotFoundError: .*model\.npy"):
        asyncio.run(dask_node.DaskIsland().open("island", opening.versions(), 1000, 1))


def test_a_limit_that_is_too_small_for_an_island_is_told_as_it_is():
    assert str(opening.refusal("a", pardata.CapacityError("raise memory_limit="))) == "node a: raise memory_limit="


def test_what_is_urgent_does_not_wait_for_messages_that_are_away(monkeypatch):
    port, called, tasks = DaskPort(FakeClient(True)), [], []

    async def stays(placed, number, frames):
        called.append(number)
        await asyncio.Event().wait()

    async def call_all():
        port._watch = SimpleNamespace(room=asyncio.Semaphore(1))
        port._placed["a"] = SimpleNamespace(link=None)
        for number in (0, 1, FINISH - 1):
            port.call("a", number, [])
        for _ in range(3):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    monkeypatch.setattr(port, "_call", stays)
    monkeypatch.setattr(port, "_start", lambda coroutine: tasks.append(asyncio.ensure_future(coroutine)))
    asyncio.run(call_all())
    assert called == [0, FINISH - 1]
