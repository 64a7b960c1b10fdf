"""Pools on a cluster in this process: what a pool on one machine gives, through lost nodes and killed workers."""

import functools
import operator
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import pardata
from pardata.cluster.port import FINISH, EngineLost
from pardata.pool.results import take_all
from tests.unit.cluster.fake_port import FakeCluster


@pytest.fixture(scope="module")
def pool():
    with pardata.WorkerPool(1, cluster=FakeCluster(), seed=5, shared={"add": np.arange(100.0)}) as made:
        yield made


def drawn(number):
    here = pardata.worker()
    return number + here.item + here.random.random() + here.shared["add"][number % 100]


def fails_at_seven(number):
    return 1 / (number % 10 - 7)


def smooth(block):
    padded = np.pad(block, 1, mode="edge")
    return (padded[:-2] + padded[1:-1] + padded[2:]) / 3


def test_workers_are_those_of_all_nodes(pool):
    assert pool.workers == pool.size == 2
    assert "2 processes on a cluster" in repr(pool)


def test_calls_and_maps_give_what_they_give_on_one_machine(pool):
    assert pool.submit(pow, 2, exp=10).result() == 1024
    assert list(pool.map(pow, [2, 3], [3, 2])) == [8, 9]
    assert sorted(pool.results(abs, range(-50, 0), ordered=False)) == list(range(1, 51))
    assert list(pool.map(abs, range(-50, 0), buffersize=3)) == list(range(50, 0, -1))


def test_random_numbers_do_not_depend_on_nodes():
    def values(**options):
        with pardata.WorkerPool(1, seed=5, shared={"add": np.arange(100.0)}, **options) as made:
            return list(made.map(drawn, range(200)))

    assert values(cluster=FakeCluster()) == values()


def test_large_arrays_go_there_and_back(pool):
    array = np.arange(200_000.0)
    added = array * 2
    assert np.array_equal(pool.submit(lambda x: x + added, array).result(), array * 3)


def test_arguments_are_copied_before_submit_returns_if_workers_are_idle(pool):
    array = np.zeros(200_000)
    with pool._backend._lock:  # the pool's thread does nothing meanwhile
        future, results = pool.submit(np.sum, array), pool.map(np.sum, [array])
        array += 1
    assert (future.result(), *results) == (0, 0)


@pytest.mark.parametrize("axis", [0, 1])
def test_arrays_are_cut_over_the_nodes(pool, axis):
    array = np.random.default_rng(0).random((60, 60))
    assert np.array_equal(pool.map_array(np.sqrt, array, axis=axis), np.sqrt(array))
    assert np.allclose(pool.reduce_array(np.sum, array, lambda a, b: a + b, axis=axis, chunksize=7), array.sum())
    changed = array.copy()
    pool.foreach_array(double, changed, axis=axis)
    assert np.array_equal(changed, 2 * array)


def double(block):
    block *= 2


def test_the_output_is_written_at_home(pool, tmp_path):
    array = np.random.default_rng(0).random(10_000)
    assert np.allclose(pool.map_array(smooth, array, halo=1, chunksize=100), smooth(array))
    given = np.zeros(10_000, np.float32)
    assert pool.map_array(np.sqrt, array, out=given, chunksize="40kB") is given
    assert np.array_equal(given, np.sqrt(array).astype(np.float32))
    made = pool.map_array(np.sqrt, array, out=f"{tmp_path}/out.npy", progress=bar)
    assert np.array_equal(made, np.load(tmp_path / "out.npy")) and np.array_equal(made, np.sqrt(array))
    assert pool.map_array(lambda block: block[:, None] + block, np.ones((1, 1)), chunksize=1).shape == (1, 1, 1)
    other = pool.map_array(lambda block: np.stack([block] * 3), np.ones((9, 2)), chunksize=3)
    assert other.shape == (3, 9, 2)  # told by a call of another length


def none_at_first(block):
    return None if block[0] == 0 else 1


async def awaits(block):
    block += 1


def test_functions_that_cannot_work_are_told(pool):
    with pytest.raises(TypeError) as caught:
        pool.reduce_array(none_at_first, np.arange(4), operator.add, chunksize=1)
    assert "returned None for some rows" in caught.value.__notes__[-1]
    with pytest.raises(pardata.ConfigError, match="awaits nothing"):
        pool.foreach_array(awaits, np.ones(9))


def bar(*_, **__):
    from tqdm import tqdm

    return tqdm(disable=True)


def test_an_error_has_its_type_its_item_and_its_node(pool):
    with pytest.raises(ZeroDivisionError) as caught:
        list(pool.map(fails_at_seven, range(20)))
    (note,) = caught.value.__notes__
    assert note == "in the call of 'fails_at_seven' on node node0, item 7: 7" or "on node node1, item 7: 7" in note
    with pytest.raises(ZeroDivisionError, match="division"):
        pool.map_array(lambda block: 1 // 0, np.ones(10))
    assert list(pool.map(abs, [-1])) == [1]


def test_what_cannot_leave_is_refused(pool):
    table = pardata.Table({1: 2})
    with pytest.raises(pardata.ConfigError, match="'<lambda>' cannot run on other nodes"):
        pool.submit(lambda: table[1])
    with pytest.raises(pardata.SerializationError, match=r"item 3 of a map .*pardata\.serve"):
        list(pool.map(str, [1, 2, 3, table]))
    with pytest.raises(pardata.SerializationError, match="the result cannot be sent back"):
        pool.submit(threading.Lock).result()


class Exits:
    """It ends whoever loads it."""

    def __reduce__(self):
        return sys.exit, (3,)


def test_what_exits_where_it_is_loaded_is_an_error_of_its_call(pool):
    with pytest.raises(RuntimeError, match="sys.exit"):
        pool.submit(abs, Exits()).result()
    exits = Exits()
    with pytest.raises(RuntimeError, match="sys.exit"):
        pool.submit(lambda: exits).result()
    assert list(pool.map(abs, range(-9, 0), chunksize=1)) == list(range(9, 0, -1))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"kind": "thread"}, "has processes on each node"),
        ({"memory_limit": "1GB"}, "that of the nodes"),
        ({"record": True}, "keeps no times"),
        ({"cluster": "dsk"}, "cluster must be 'dask'"),
    ],
)
def test_options_of_one_machine_are_refused(options, why):
    with pytest.raises(pardata.ConfigError, match=why):
        pardata.WorkerPool(1, **{"cluster": FakeCluster(), **options})


def test_a_checkpoint_of_a_map_is_at_home(pool, tmp_path):
    assert list(pool.map(abs, range(-9, 0), checkpoint=tmp_path / "far")) == list(range(9, 0, -1))
    assert list(pool.map(abs, range(-9, 0), checkpoint=tmp_path / "far")) == list(range(9, 0, -1))
    with pytest.raises(pardata.ConfigError, match="pools on this machine"):
        pool.map_array(np.sqrt, np.ones(9), out=f"{tmp_path}/a.npy", checkpoint=tmp_path / "c")


def kills_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def kills_behind(rows):
    if rows[-1] > 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def stays_if(path):
    return path and stays(path)


def stays(path):
    open(path, "w").close()
    threading.Event().wait()


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def raises_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        raise LookupError
    return path


def begin(value):
    os.environ["PARDATA_TEST"] = value


def end(path):
    print("ended")
    open(f"{path}/end{os.getpid()}", "w").close()


def test_workers_of_nodes_are_ended_and_replaced_as_those_of_one_machine(tmp_path, capsys):
    options = {"initializer": begin, "initargs": ("1",), "finalizer": end, "finalargs": (tmp_path,)}
    with pardata.WorkerPool(1, cluster=FakeCluster(), timeout_s=3, retries=1, **options) as pool:
        assert list(pool.map(lambda name: os.environ[name], ["PARDATA_TEST"] * 4)) == ["1"] * 4
        made, errors = all_of(pool.results(kills_at_seven, range(20), ends=False, chunksize=20), 20)
        assert made == [number for number in range(20) if number != 7]
        assert [list(error.items) for error in errors] == [[7]]
        assert "on node node" in errors[0].__notes__[0]
        with pytest.raises(pardata.WorkerLostError) as lost:
            pool.map_array(kills_behind, np.arange(30), chunksize=10)
        assert lost.value.items == range(20, 30)
        assert sum(worker["deaths"] for worker in pool.statistics()["workers"]) == 6
        assert pool.submit(raises_once, f"{tmp_path}/once").result() == f"{tmp_path}/once"
        late = pool.submit(time.sleep, 600)
        here = pool.submit(stays, f"{tmp_path}/here")
        wait_for(tmp_path / "here")
        assert here.cancel() and here.cancelled()  # at once: its worker is ended
        with pytest.raises(pardata.DeadlineExceeded, match="timeout_s=3"):
            late.result()
        assert list(pool.map(abs, range(-9, 0), chunksize=1)) == list(range(9, 0, -1))
    assert len(list(tmp_path.glob("end*"))) == 2
    assert capsys.readouterr().out.count("ended") == 2


def waits_for_shutdown(rows, path, first):
    if rows[0] == first:
        open(f"{path}/here", "w").close()
        wait_for(f"{path}/go")
    return rows


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("out", [None, "made.h5"])
def test_a_pool_that_another_thread_shuts_down_ends_behind_map_array(tmp_path, out, first):
    if out is not None:
        pytest.importorskip("h5py")
        out = f"{tmp_path}/{out}"
    pool = pardata.WorkerPool(1, cluster=FakeCluster(nodes=1)) if out is None else pardata.WorkerPool(1)
    made = []
    fn = functools.partial(waits_for_shutdown, path=tmp_path, first=first)
    caller = threading.Thread(target=lambda: made.append(pool.map_array(fn, np.arange(200), chunksize=1, out=out)))
    caller.start()
    wait_for(tmp_path / "here")
    closer = threading.Thread(target=pool.shutdown)
    closer.start()
    while pool.is_open:
        time.sleep(0.01)
    open(tmp_path / "go", "w").close()
    closer.join()
    caller.join()
    assert np.array_equal(made[0], np.arange(200))


def all_of(results, count):
    """The results of a map, and its errors."""
    made, errors = [], []
    for _ in range(count):
        try:
            made.append(next(results))
        except pardata.WorkerLostError as error:
            errors.append(error)
    return made, errors


def test_an_initializer_that_raises_breaks_the_pool():
    options = {"initializer": int, "initargs": ("x",)}
    pool = pardata.WorkerPool(1, cluster=FakeCluster(), **options)
    with pytest.raises(pardata.WorkerLostError, match="invalid literal"), pool:
        pool.submit(abs, -1).result()


def speaks(number):
    print("item", number)
    return number


def test_what_workers_say_is_here_before_the_result(pool, capsys):
    assert pool.submit(speaks, 3).result() == 3
    assert capsys.readouterr().out in ("[pool 0 on node0] item 3\n", "[pool 1 on node0] item 3\n",
                                       "[pool 0 on node1] item 3\n", "[pool 1 on node1] item 3\n")  # fmt: skip
    list(pool.map(speaks, range(10)))
    assert capsys.readouterr().out.count("item") == 10


def test_lost_nodes_lose_nothing_and_an_item_that_costs_three_is_blamed():
    def on_call(port, node, number):
        tasks = sum(each >= 0 for _, each in port.calls)
        if number >= 0 and (b"costly" in port.sent[0] or tasks in (3, 14)):
            port.lose(node)

    with pardata.WorkerPool(1, cluster=FakeCluster(on_call=on_call, twice=True)) as pool:
        assert list(pool.map(abs, range(-100, 0), chunksize=10)) == list(range(100, 0, -1))
        array = np.random.default_rng(0).random(1000)
        assert np.array_equal(pool.map_array(np.sqrt, array, chunksize=100), np.sqrt(array))
        nodes = pool.statistics()["nodes"]
        assert sum(node.is_lost for node in nodes) == 2
        assert sum(node.redone for node in nodes) >= 1
        assert "redone" in str(pool.report()) and "redone" in pool.report()._repr_html_()
        made, errors = all_of(pool.results(str, ["a", "b", "costly", "d"], ends=False, chunksize=4), 4)
        assert made == ["a", "b", "d"]
        assert [list(error.items) for error in errors] == [[2]]
        assert "item 2 of a map: 'costly': 3 nodes were lost" in str(errors[0])


def test_without_its_engine_a_pool_is_broken():
    def on_call(port, node, number):
        if number >= 0:
            for each in list(port.islands):
                port.lose(each, joins=False)
            port.on_event(EngineLost("the scheduler is gone"))

    with pardata.WorkerPool(1, cluster=FakeCluster(on_call=on_call)) as pool:
        with pytest.raises(pardata.WorkerLostError, match="the scheduler is gone"):
            pool.submit(abs, -1).result()
        with pytest.raises(pardata.WorkerLostError, match="the pool has ended"):
            pool.submit(abs, -1)


def interrupt(path):
    wait_for(path)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_frees_a_pool_which_ends_at_once_or_when_nobody_holds_it(tmp_path):
    pool = pardata.WorkerPool(1, cluster=FakeCluster(nodes=1))
    interrupter = threading.Thread(target=interrupt, args=[tmp_path / "first"])
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        list(pool.map(stays, [f"{tmp_path}/first"]))
    interrupter.join()
    assert pool.submit(abs, -1).result() == 1

    def ctrl_c(*_):  # here, while a worker is at the next item
        wait_for(tmp_path / "second")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_all(pool.results(stays_if, ["", f"{tmp_path}/second"], chunksize=1, lazy=True), [(0, 1), (1, 2)], ctrl_c)
    assert pool.submit(abs, -1).result() == 1
    future = pool.submit(stays, f"{tmp_path}/here")
    wait_for(tmp_path / "here")
    pool.terminate()
    with pytest.raises(pardata.WorkerLostError, match="before its work was done"):
        future.result()
    with pytest.raises(pardata.WorkerLostError):
        pool.submit(abs, 1)
    pool = pardata.WorkerPool(1, cluster=FakeCluster(nodes=1))
    future, thread = pool.submit(abs, -1), pool._backend._thread
    del pool  # it does what it has, and ends
    assert future.result() == 1
    thread.join()


class Swapped:
    """An island that gets its first task behind the message that drops it, and whose end is that of its engine."""

    def __init__(self, port, node):
        self._port, self._island, self._late = port, port.islands[node], []

    def take(self, number, frames):
        if number == FINISH:
            self._port.on_event(EngineLost("it was shut down"))
            return
        if number >= 0 and not self._late:
            self._late.append((number, frames))
            return
        self._island.take(number, frames)
        if b"DropTasks" in frames[0]:
            self._island.take(*self._late[0])

    def close(self):
        self._island.close()


def test_a_call_that_is_cancelled_on_its_way_is_not_begun_and_an_end_waits_for_no_lost_engine(tmp_path):
    def on_call(port, node, number):
        if not isinstance(port.islands[node], Swapped):
            port.islands[node] = Swapped(port, node)

    with pardata.WorkerPool(1, cluster=FakeCluster(nodes=1, on_call=on_call)) as pool:
        future = pool.submit(stays, f"{tmp_path}/here")
        while not future.running():
            time.sleep(0.01)
        assert future.cancel()
        assert pool.submit(abs, -1).result() == 1
    assert not os.listdir(tmp_path)


def test_a_node_that_joins_has_work_at_once(tmp_path):
    def on_call(port, node, number):
        if number == 0 and port.serial == 1:
            port.lose(node, joins=False)

    cluster = FakeCluster(nodes=1, on_call=on_call)
    with pardata.WorkerPool(1, cluster=cluster) as pool:
        (port,) = cluster.ports
        dropped = pool.submit(abs, 0)
        while port.islands:
            time.sleep(0.01)
        assert dropped.cancel()
        at_work = pool.submit(stays, f"{tmp_path}/here")  # behind what is left of the dropped one
        port.join()
        wait_for(tmp_path / "here")
        waiting = pool.submit(abs, -1)
        port.join()
        assert waiting.result() == 1
        assert at_work.cancel()
