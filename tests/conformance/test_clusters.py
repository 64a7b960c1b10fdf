"""One suite for all ports of clusters: runs equal to the serial engine, through lost nodes and killed workers."""

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import pardata
from pardata.channel.placing import BlockPlacer
from pardata.cluster import wire
from pardata.cluster.crossing import Crossing
from pardata.cluster.messages import Message
from pardata.cluster.port import FINISH, EngineLost, NodeJoined
from pardata.cluster.ray import check_there
from pardata.engines.processes.report import Statistics
from pardata.memory.born.library import why_not
from pardata.process.launcher import fork_server
from tests.conftest import holdings
from tests.unit.cluster.fake_port import FakeCluster


def drawn(number):
    return number + pardata.worker().item + pardata.worker().random.random()


def to_array(number):
    return np.full(40_000, number, np.float32)


def root(array):
    return np.sqrt(array)


def fails_at_seven(number):
    return 1 / (number % 10 - 7)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """As that of all tests, without the sockets, which Dask opens and closes when it likes."""
    fork_server.start()
    before = holdings()
    yield
    left = {kind: now - before[kind] for kind, now in holdings().items() if kind != "open files"}
    assert not any(left.values()), left


@pytest.fixture(scope="module")
def dask_client():
    """Two Dask workers, processes with nannies, that count as two hosts."""
    distributed = pytest.importorskip("distributed")
    options = [{"host": f"127.0.0.{index + 2}", "nthreads": 1} for index in (0, 1)]
    hosts = {index: {"cls": distributed.Nanny, "options": options[index]} for index in (0, 1)}
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": ":0"}}
    import dask

    given = dict(os.environ)
    # A cluster gives a host up whose worker is away 15 s after it was lost: on a busy machine it may come later.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        distributed.SpecCluster(workers=hosts, scheduler=scheduler, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2, timeout=240)
        for name in os.environ.keys() - given.keys():  # what a nanny sets for its worker it sets in this process
            del os.environ[name]
        yield client


RAY_NODE = {"num_cpus": 1, "object_store_memory": 100 << 20}


@pytest.fixture(scope="module")
def ray_cluster():
    """Two raylets on this machine, with which Ray is initialised; it takes 1.5 s until a dead one is given up.

    Workers have no niceness, which is 15 by default: on a busy machine they would wait for all else.
    """
    if os.environ.get("PARDATA_TEST_RAY") != "1":
        pytest.skip("a Ray cluster takes a minute: PARDATA_TEST_RAY=1 asks for it")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        checks = {"health_check_period_ms": 500, "health_check_timeout_ms": 500, "health_check_failure_threshold": 3}
        cluster = Cluster(
            initialize_head=True, head_node_args=RAY_NODE | {"_system_config": checks | {"worker_niceness": 0}}
        )
        try:
            cluster.add_node(**RAY_NODE)
            ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def ray_islands():
    """Processes of this one's Ray cluster that have islands."""
    psutil = pytest.importorskip("psutil")
    return [each for each in psutil.Process().children(recursive=True) if "ray::RayIsland" in " ".join(each.cmdline())]


@pytest.fixture(params=["fake", "dask", "ray"])
def cluster(request):
    """An engine, and a function that kills the process of one of its nodes."""
    if request.param == "fake":
        made = FakeCluster()
        return made, lambda: made.ports[0].lose(next(iter(made.ports[0].islands)))
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        return "ray", lambda: ray_islands()[0].kill()
    client = request.getfixturevalue("dask_client")
    client.wait_for_workers(2, timeout=120)
    return "dask", lambda: os.kill(client.run(os.getpid).popitem()[1], signal.SIGKILL)


def numbers(count=200):
    return pardata.source(range(count))


STREAMS = {
    "farm and filter": lambda: numbers().map(drawn, workers=2).filter(lambda x: int(x) % 4),
    "zip": lambda: pardata.zip(s := numbers().map(drawn), s.filter(lambda x: int(x) % 4)).map(sum, workers=2),
    "two outlets": lambda: pardata.merge(s := numbers().map(drawn), s.map(lambda x: -x), policy="ordered"),
    "dead letters": lambda: pardata.merge(
        s := numbers().map(fails_at_seven, errors="stream"), s.failed.map(number_of_letter), policy="ordered"
    ),
    "a weave at the end of an island": lambda: pardata.concat(
        pardata.merge((s := numbers(20)).map(drawn), s.filter(lambda x: int(x) % 4), policy="ordered"), numbers(5)
    ),
    "a zip at the end of an island": lambda: pardata.concat(
        pardata.zip((s := numbers(20)).map(drawn), s.filter(lambda x: int(x) % 4)), numbers(5)
    ),
    "two islands": lambda: numbers().map(drawn).batch(7).map(sum),
    "coroutines": lambda: numbers().map(awaited, concurrency=4),
    "a take": lambda: numbers().map(drawn).take(20),
}


def number_of_letter(letter):
    return letter.number


def counts_of(run):
    return [(stage.name, stage.items, stage.dropped, stage.failed) for stage in run.report().stages]


async def awaited(number):
    return drawn(number)


def items(stream, engine):
    with stream.iterate(engine=engine, seed=5) as run:
        return list(run), run


@pytest.mark.parametrize("kind", STREAMS)
def test_a_run_equals_the_serial_one(cluster, kind):
    made, run = items(STREAMS[kind](), cluster[0])
    expected, serial = items(STREAMS[kind](), "serial")
    assert made == expected
    if kind != "a take":
        assert counts_of(run) == counts_of(serial)


def test_large_arrays_cross(cluster):
    sums = numbers(20).map(to_array).map(root, workers=2).map(np.sum, on="home")
    assert items(sums, cluster[0])[0] == items(sums, "serial")[0]


def count_copies():
    """Count the copies of large arrays into blocks by threads of this process: begin, or return how many there were."""
    if not hasattr(BlockPlacer, "copies"):
        BlockPlacer.copies, copy = 0, BlockPlacer._copy

        def counted(placer, message, rest, is_shared):
            BlockPlacer.copies += any(message.sizes[index] > 100_000 for index in rest)
            return copy(placer, message, rest, is_shared)

        BlockPlacer._copy, BlockPlacer.uncounted = counted, copy
        return 0
    BlockPlacer._copy, found = BlockPlacer.uncounted, BlockPlacer.copies
    del BlockPlacer.uncounted, BlockPlacer.copies
    return found


@pytest.mark.skipif(why_not() is not None, reason="arrays are not born in blocks here")
def test_arrays_arrive_in_blocks_and_belong_to_the_caller(dask_client):
    count_copies(), dask_client.run(count_copies)
    arrays, made = numbers(60).map(to_array, on="home"), []
    for array in arrays.map(same).iterate(engine="dask"):
        array += 1
        made.append(array)
    assert all(np.array_equal(array, to_array(number + 1)) for number, array in enumerate(made))
    assert count_copies() == 0
    assert sum(dask_client.run(count_copies).values()) <= 20  # the first message of each connection


def test_arrays_that_arrive_in_blocks_belong_to_the_caller():
    arrays = numbers(6).map(to_array, on="home").map(same).iterate(engine=FakeCluster(nodes=1))
    assert all(array.flags.writeable for array in arrays)


@pytest.mark.skipif(why_not() is not None, reason="arrays are not born in blocks here")
def test_arrays_of_ray_arrive_in_blocks_and_belong_to_the_caller(ray_cluster):
    count_copies()
    arrays, made = numbers(60).map(to_array, on="home"), []
    for array in arrays.map(same).iterate(engine="ray"):
        array += 1
        made.append(array)
    assert all(np.array_equal(array, to_array(number + 1)) for number, array in enumerate(made))
    assert count_copies() == 0


def same(array):
    return array


def threads_of_libraries(number):
    return [os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")]


def test_limits_that_an_engine_has_set_for_itself_do_not_hold_for_workers(cluster):
    stream = numbers(1).map(threads_of_libraries)
    assert items(stream, cluster[0])[0] == items(stream, "processes")[0]


def test_a_sink_at_home_and_an_end_on_the_nodes(cluster):
    found = []
    numbers().map(drawn).to(found).run(engine=cluster[0], seed=5)
    assert found == items(numbers().map(drawn), "serial")[0]
    report = numbers().map(drawn).run(engine=cluster[0])
    assert [stage.items for stage in report.stages] == [200, 200]


def test_an_error_arrives_as_what_it_is(cluster):
    with pytest.raises(ZeroDivisionError) as caught:
        numbers().map(fails_at_seven).run(engine=cluster[0])
    first, second = caught.value.__notes__
    assert first.startswith("in stage 'fails_at_seven', item ") and re.fullmatch("on node [^#]+", second)
    assert "fails_at_seven" in str(caught.value.__cause__)


class LoadsNotIn:
    """What cannot be loaded in one process."""

    def __init__(self, pid):
        self.pid = pid

    def __reduce__(self):
        return load_not_in, (self.pid,)


def load_not_in(pid):
    if os.getpid() == pid and threading.current_thread().name != "pardata-outlet":  # that is on the node
        raise LookupError("it cannot be loaded here")
    return LoadsNotIn(pid)


def test_a_result_that_cannot_be_loaded_ends_the_run():
    pid = os.getpid()
    with pytest.raises(LookupError, match="loaded here") as caught:
        list(numbers(20).map(lambda number: LoadsNotIn(pid)).iterate(engine=FakeCluster(nodes=1)))
    assert "answer of node " in "".join(caught.value.__notes__)


def test_without_its_engine_a_run_ends():
    def on_call(port, node, number):
        for node in list(port.islands):
            port.lose(node, joins=False)
        port.on_event(EngineLost("the scheduler is gone"))

    made = FakeCluster(on_call=on_call)
    with pytest.raises(pardata.WorkerLostError, match="the scheduler is gone"):
        numbers().map(drawn).run(engine=made)


def speaks(number):
    print("item", number)
    logging.getLogger("of the node").warning("item %s", number)
    return 1 / (number - 7)


def test_what_nodes_say_arrives_here(cluster, capsys, caplog):
    with pytest.raises(ZeroDivisionError):
        numbers(8).map(speaks, chunksize=1).run(engine=cluster[0])
    said = capsys.readouterr().out.splitlines()
    assert all(re.fullmatch(r"\[speaks on \S+\] item \d", line) for line in said)
    assert "item 7" in {line.partition("] ")[2] for line in said}  # what was said before the error is here
    assert "item 7" in [record.message for record in caplog.records if record.name == "of the node"]


def costly(item):
    """A cluster whose nodes are lost whenever they get an item."""

    def on_call(port, node, number):
        message = wire.decode(list(port.sent)) if number != FINISH else None
        if isinstance(message, Message) and item in message.items:
            port.lose(node)

    return FakeCluster(nodes=1, on_call=on_call)


def same_number(number):
    return number


def test_an_item_that_costs_three_nodes_is_blamed_as_one_that_kills_its_workers():
    skipping = numbers(20).map(same_number, chunksize=3, errors="skip").map(drawn)
    with skipping.iterate(engine=costly(7), seed=5) as run:
        made = list(run)
    report = run.report()
    (skipped,) = report.skipped
    assert (skipped.stage, skipped.number) == ("same_number", 7) and "3 nodes were lost" in skipped.error
    expected = items(numbers(20).map(same_number).map(drawn), "serial")[0]
    assert made == expected[:7] + expected[8:]
    assert [node.is_lost for node in report.nodes].count(True) == 3
    good = numbers(20).map(same_number, chunksize=3, errors="stream")
    letters = good.failed.map(number_of_letter)
    both = list(pardata.merge(good, letters, policy="ordered").iterate(engine=costly(7)))
    assert both == list(range(20))


def test_skipped_items_are_told(cluster):
    report = numbers(50).map(fails_at_seven, errors="skip").run(engine=cluster[0])
    assert [skipped.number for skipped in report.skipped] == [7, 17, 27, 37, 47]
    with pytest.raises(ZeroDivisionError):
        numbers(50).map(fails_at_seven, errors="skip", max_errors=3).run(engine=cluster[0])


def test_islands_are_closed_where_the_run_at_home_cannot_begin(monkeypatch):
    def refuse(plan, *others):
        if plan.part_of is not None:  # the part at home, not that of an island
            raise pardata.CapacityError("no memory")
        return Statistics(plan, *others)

    made = FakeCluster()
    monkeypatch.setattr("pardata.engines.processes.engine.Statistics", refuse)
    with pytest.raises(pardata.CapacityError):
        numbers().map(drawn).iterate(engine=made)
    assert [port.islands for port in made.ports] == [{}]


def test_what_cannot_leave_is_refused_with_its_stage_and_line(cluster):
    table = pardata.Table({1: 2})
    with open(os.devnull) as file:
        for fn, why in ((lambda x: table[x], "pardata.serve"), (lambda x: file, "open file")):
            with pytest.raises(pardata.ConfigError, match=f"(?s)'lambda' .*test_clusters.*{why}"):
                numbers().map(drawn).map(fn).run(engine=cluster[0])


def exit_once(path):
    def work(number):
        if number == 30 and not os.path.exists(path):
            open(path, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return work


def test_a_killed_worker_of_a_node_is_replaced_there(cluster, tmp_path):
    stream = numbers().map(exit_once(str(tmp_path / "was_here")), workers=2)
    with stream.iterate(engine=cluster[0]) as run:
        assert list(run) == list(range(200))
    assert [stage.restarts for stage in run.report().stages] == [0, 1]


def test_an_item_that_kills_its_workers_is_blamed(cluster):
    def kills(number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    report = numbers(20).map(kills, errors="skip").run(engine=cluster[0])
    assert [skipped.number for skipped in report.skipped] == [3]


def stays_after_the_first(number):
    if number:
        threading.Event().wait()
    return number


# A run is in the midst of its items, and a pool's task is encoded, and sent to no node yet.
_DRIVER = """
import sys, threading, pardata
from pardata.cluster.pool_crossing import PoolCrossing
from tests.conformance.test_clusters import numbers, same, stays_after_the_first

ENGINE
run = numbers().map(stays_after_the_first, workers=2, chunksize=1).iterate(engine=engine)
next(run)
pool = pardata.WorkerPool(1, cluster=engine)
pool.submit(same, 1).result()

def told(crossing, number, away):
    print("running", flush=True)
    threading.Event().wait()

PoolCrossing.begin_task = told
pool.submit(same, 2).result()
"""
_ON_DASK = "from distributed import Client; client = Client(sys.argv[1]); engine = 'dask'"
_ON_RAY = "import ray; ray.init(address=sys.argv[1], log_to_driver=False); engine = 'ray'"


def kill_driver(script, address, nodes_of):
    """Kill a calling process with a run and a pool; see that the workers of both end, and return the nodes of them."""
    psutil = pytest.importorskip("psutil")
    with subprocess.Popen([sys.executable, "-c", script, address], stdout=subprocess.PIPE) as driver:
        assert driver.stdout.readline()
        nodes = nodes_of()
        workers = [worker for node in nodes for server in node.children() for worker in server.children()]
        assert len(workers) == 6
        driver.kill()
    assert psutil.wait_procs(workers, timeout=240)[1] == []
    return nodes


def test_islands_end_with_the_calling_process(dask_client):
    psutil = pytest.importorskip("psutil")
    dask_client.wait_for_workers(2, timeout=240)
    kill_driver(
        _DRIVER.replace("ENGINE", _ON_DASK),
        dask_client.scheduler.address,
        lambda: [psutil.Process(pid) for pid in dask_client.run(os.getpid).values()],
    )


def test_islands_on_ray_end_with_the_calling_process(ray_cluster):
    psutil = pytest.importorskip("psutil")
    nodes = kill_driver(_DRIVER.replace("ENGINE", _ON_RAY), ray_cluster.address, ray_islands)
    assert len(nodes) == 4
    assert psutil.wait_procs(nodes, timeout=240)[1] == []


def test_leaving_the_loop_ends_the_run(cluster):
    for item in numbers(10_000).map(drawn).iterate(engine=cluster[0]):
        if item > 30:
            break


def test_islands_share_the_memory_of_a_node_and_a_client_for_an_address_is_closed(dask_client, monkeypatch):
    def clients():
        return dask_client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.clients))

    told, on_event, before = [], Crossing.on_event, clients()
    monkeypatch.setattr(Crossing, "on_event", lambda *given: (told.append(given[1]), on_event(*given)))
    engine = pardata.cluster.Dask(dask_client.scheduler.address, nodes=1, memory_limit="64MB")
    assert items(STREAMS["two islands"](), engine)[0] == items(STREAMS["two islands"](), "serial")[0]
    assert [event.memory_bytes for event in told if isinstance(event, NodeJoined)] == [32_000_000] * 2
    assert clients() == before


@pytest.mark.parametrize("engine", ["dask", "ray", FakeCluster()])
def test_a_checkpoint_is_refused_before_anything_is_written(tmp_path, engine):
    with pytest.raises(pardata.ConfigError, match="a run on a cluster cannot go on after a kill"):
        numbers().map(drawn).to(f"{tmp_path}/a.npy").run(engine=engine, checkpoint=tmp_path / "c")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("address", "why"), [("nonsense", "no Dask scheduler at"), (42, "must be a str or")])
def test_a_wrong_address_is_refused(address, why):
    pytest.importorskip("distributed")
    with pytest.raises(pardata.ConfigError, match=why):
        numbers().map(drawn).run(engine=pardata.cluster.Dask(address))


def test_no_client_is_no_cluster(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed.Client, "current", classmethod(lambda cls: (_ for _ in ()).throw(ValueError)))
    with pytest.raises(pardata.ConfigError, match="from distributed import Client"):
        numbers().map(drawn).run(engine="dask")


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pardata.cluster.dask_port", None)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[dask\]"):
        numbers().map(drawn).run(engine="dask")


def test_a_pool_on_dask(dask_client, capsys):
    dask_client.wait_for_workers(2, timeout=240)
    array = np.random.default_rng(0).random((400, 300))
    with pardata.WorkerPool(1, cluster="dask", shared=array) as pool:
        assert pool.workers == 2
        assert pool.submit(lambda row: pardata.worker().shared[row].sum(), 3).result() == array[3].sum()
        assert np.array_equal(pool.map_array(np.sqrt, array, chunksize=50), np.sqrt(array))
        assert list(pool.map(speaks, [1, 2])) == [1 / (1 - 7), 1 / (2 - 7)]
        assert re.search(r"^\[pool 0 on tcp://127\.0\.0\.[23]:\d+\] item 1$", capsys.readouterr().out, re.MULTILINE)
        future = pool.submit(stays_after_the_first, 1)
        with pytest.raises(ZeroDivisionError) as caught:
            pool.submit(fails_at_seven, 7).result()
        assert "on node tcp://127.0.0." in caught.value.__notes__[0]
        while not future.running():
            pass
        assert future.cancel()


@pytest.mark.parametrize("address", [42, "local"])
def test_an_address_of_no_ray_cluster_is_refused(address, ray_cluster):
    with pytest.raises(pardata.ConfigError, match="must be a str, that of a cluster"):
        numbers().map(drawn).run(engine=pardata.cluster.Ray(address))


@contextlib.contextmanager
def nobodys_address():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "tcp://", "tls://"])
def test_an_address_of_dask_where_nobody_listens_is_refused_at_once(scheme):
    pytest.importorskip("distributed")
    with nobodys_address() as address, pytest.raises(pardata.ConfigError, match="no Dask scheduler at .*refused"):
        pardata.cluster.Dask(scheme + address).connect()


def test_an_address_of_ray_where_nobody_listens_is_refused_at_once():
    with nobodys_address() as address, pytest.raises(pardata.ConfigError, match="no Ray cluster at .*refused"):
        check_there(address)
    check_there("auto")  # Ray knows where that is
    with pytest.raises(pardata.ConfigError, match="ray job submit"):
        check_there("ray://10.0.0.1:10001")


def test_ray_that_is_not_initialised_is_not_started(monkeypatch, ray_cluster):
    import ray

    with pytest.raises(pardata.ConfigError, match="a process has one cluster"):
        numbers().map(drawn).run(engine=pardata.cluster.Ray(ray_cluster.address))
    with pytest.raises(pardata.ConfigError, match="ray job submit"):
        numbers().map(drawn).run(engine=pardata.cluster.Ray("ray://10.0.0.1:10001"))
    monkeypatch.setattr(ray.util.client.ray, "is_connected", lambda: True)
    with pytest.raises(pardata.ConfigError, match="ray job submit"):
        numbers().map(drawn).run(engine="ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(pardata.ConfigError, match=r"import ray\n    ray.init\(\)"):
        numbers().map(drawn).run(engine="ray")


def test_a_run_that_is_closed_twice_closes_its_engine_once(monkeypatch):
    closed, cluster = [], FakeCluster(nodes=1)
    connect = cluster.connect
    monkeypatch.setattr(cluster, "connect", lambda: connect()._replace(close=lambda: closed.append("engine")))
    run = numbers(3).map(abs).iterate(engine=cluster)
    assert list(run) == [0, 1, 2]
    run.close()  # by now the caller may have initialised Ray for something else
    assert closed == ["engine"]


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pardata.cluster.ray_port", None)
    with pytest.raises(pardata.MissingExtraError, match=r"pardata\[ray\]"):
        numbers().map(drawn).run(engine="ray")


def test_what_ray_does_not_have_is_refused(ray_cluster):
    for options, why in (({"nodes": 3}, "2 nodes with a CPU"), ({"memory_limit": "1000TB"}, "memory_limit is")):
        with pytest.raises(pardata.ConfigError, match=why):
            numbers().map(drawn).run(engine=pardata.cluster.Ray(**options))
    engine = pardata.cluster.Ray(nodes=1, memory_limit="64MB")
    with STREAMS["two islands"]().iterate(engine=engine, seed=5) as run:
        assert list(run) == items(STREAMS["two islands"](), "serial")[0]
    assert len(run.report().nodes) == 2  # one for each island


def test_an_island_that_waits_for_memory_of_ray_is_told_of(ray_cluster, monkeypatch, caplog):
    from pardata.cluster import ray_port

    monkeypatch.setattr(ray_port, "_PATIENCE_S", 0.1)
    engine = pardata.cluster.Ray(nodes=1, memory_limit=min(at.memory_bytes for at in ray_port.nodes_there().values()))
    first = numbers().map(same).iterate(engine=engine)
    made = []
    second = threading.Thread(target=lambda: made.extend(numbers().map(same).iterate(engine=engine)))
    caplog.clear()
    second.start()
    while "is promised to others" not in caplog.text:
        assert second.is_alive()
        second.join(0.1)
    assert list(first) == list(range(200)) and not made
    second.join(240)
    assert made == list(range(200))


# Last: a nanny may need long to replace the process of a node on a busy machine.
@pytest.mark.parametrize("kind", ["farm and filter", "zip"])
def test_a_killed_node_loses_nothing(cluster, kind):
    engine, kill = cluster
    expected = items(STREAMS[kind](), "serial")[0]
    made = []
    with STREAMS[kind]().iterate(engine=engine, seed=5) as run:
        for item in run:
            made.append(item)
            if len(made) == 10:
                kill()
    assert made == expected
    nodes = run.report().nodes
    assert sum(node.is_lost for node in nodes) == 1
    there = [node for node in nodes if not node.is_lost]  # one that has joined may have come too late for a message
    assert any(node.messages and node.sent_bytes for node in there) and not any(node.redone for node in there)
    assert "redone" in str(run.report())


def test_a_killed_node_of_a_pool_loses_nothing(dask_client):
    dask_client.wait_for_workers(2, timeout=240)
    with pardata.WorkerPool(2, cluster="dask") as pool:
        results, made = pool.map(lambda number: number * 2, range(3000), chunksize=20, buffersize=200), []
        for item in results:
            made.append(item)
            if len(made) == 100:
                os.kill(dask_client.run(os.getpid).popitem()[1], signal.SIGKILL)
        assert made == list(range(0, 6000, 2))
        assert sum(node.is_lost for node in pool.statistics()["nodes"]) == 1


def test_a_killed_node_of_a_pool_on_ray_loses_nothing(ray_cluster):
    array = np.random.default_rng(0).random((400, 300))
    with pardata.WorkerPool(1, cluster="ray", shared=array) as pool:
        assert pool.workers == 2
        assert pool.submit(lambda row: pardata.worker().shared[row].sum(), 3).result() == array[3].sum()
        assert np.array_equal(pool.map_array(np.sqrt, array, chunksize=50), np.sqrt(array))
        results, made = pool.map(lambda number: number * 2, range(3000), chunksize=20, buffersize=200), []
        for item in results:
            made.append(item)
            if len(made) == 100:
                ray_islands()[0].kill()
        assert made == list(range(0, 6000, 2))
        assert sum(node.is_lost for node in pool.statistics()["nodes"]) == 1


def test_a_killed_raylet_loses_nothing_and_one_that_joins_gets_an_island(ray_cluster):
    two_and_a_lost = [False, False, True]
    with numbers(10_000_000).map(same, chunksize=10).iterate(engine="ray") as run:
        for number, item in enumerate(run):
            assert number == item
            if number == 100:
                ray_cluster.remove_node(next(iter(ray_cluster.worker_nodes)), allow_graceful=False)
                ray_cluster.add_node(**RAY_NODE)
            if number % 1000 == 0 and number and sorted(node.is_lost for node in run.report().nodes) == two_and_a_lost:
                break
    assert sum(node.is_lost for node in run.report().nodes) == 1
