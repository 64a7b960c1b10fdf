"""A run with a checkpoint goes on after an error, a kill and a power cut; the files are those of an undisturbed run."""

import errno
import functools
import itertools
import os
import signal
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata import __main__ as command_line
from pardata.checkpoint import description
from pardata.checkpoint import folder as folders
from pardata.pipeline import going_on
from pardata.pipeline.programs.sink import committing
from tests.conformance.data_formats import warm_up
from tests.faults import resumed_streams as streams
from tests.faults.cuts import ENDS, end_at_each_step
from tests.faults.resumed_streams import ITEMS, Lines, Repairable, Running, calls_in, outputs
from tests.faults.windows import CUTTER, TrappedFilter

ENGINES = ["serial", "threads", "processes"]
needs_zarr = pytest.mark.skipif(find_spec("zarr") is None, reason="not installed")


@pytest.fixture(scope="module", autouse=True)
def started():
    warm_up()


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(folders, "CUT_S", 0.0)
    monkeypatch.setattr(folders, "COST", 0)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("graph", streams.GRAPHS, ids=lambda graph: graph.__name__)
def test_failed_it_goes_on(make_folder, tmp_path, graph, engine):
    folder, whole = make_folder(), streams.expected(graph, f"{tmp_path}/whole")
    options = {"engine": engine, "checkpoint": f"{folder}/c"}
    bad = ITEMS - 9 if graph is not streams.regrouped else 20
    with pytest.raises(ValueError, match="not yet"):
        streams.run(graph, folder, Repairable(folder, bad), **options)
    Path(folder, "repaired").touch()
    report = streams.run(graph, folder, Repairable(folder, bad), **options)
    assert outputs(folder) == whole
    done = calls_in(folder)
    again = streams.run(graph, folder, Repairable(folder, bad), **options)
    assert str(again) == str(report) and calls_in(folder) == done
    if graph is streams.chain:
        streams.run(graph, folder, Repairable(folder, bad), restart=True, **options)
        assert outputs(folder) == whole and len(calls_in(folder)) == len(done) + ITEMS


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_reached_the_sink_is_not_done_again(make_folder, engine):
    folder = make_folder()

    def stream(source):
        work = Repairable(folder, ITEMS - 1)
        return pardata.source(source).map(work, chunksize=1).map(float).to(f"{folder}/a.npy")

    for source in (range(ITEMS), list(range(ITEMS)), np.arange(ITEMS), streams.numbers):
        Path(folder, "calls").unlink(missing_ok=True)
        Path(folder, "repaired").unlink(missing_ok=True)
        options = {"engine": engine, "checkpoint": f"{folder}/c", "tokens": 4}
        with pytest.raises(ValueError, match="not yet"):
            stream(source).run(restart=True, **options)
        Path(folder, "repaired").touch()
        stream(source).run(**options)
        counts = Counter(calls_in(folder))
        assert set(counts) == set(range(ITEMS))
        assert all(counts[number] == 1 for number in range(ITEMS // 2)), (source, counts)
        assert np.array_equal(np.load(f"{folder}/a.npy"), np.arange(ITEMS) * 2.0)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("graph", "engine", "every"),
    [
        (streams.written, "serial", 29),
        (streams.written, "threads", 23),
        pytest.param(streams.grown, "serial", 19, marks=needs_zarr),
    ],
)
def test_ended_at_any_step_it_goes_on(make_folder, tmp_path, graph, engine, every, end):
    """Some of the steps; `python -m tests.faults.every_step` takes all."""
    whole = streams.expected(graph, f"{tmp_path}/whole", range(4))

    def job(folder):
        streams.run(graph, folder, Repairable(folder), engine, range(4), checkpoint=f"{folder}/c", tokens=2)

    def check(folder):
        assert outputs(folder) == whole

    assert end_at_each_step(make_folder, job, check, end, every) > 20


def test_a_worker_that_is_killed_meanwhile_is_replaced(make_folder, tmp_path):
    folder, whole = make_folder(), streams.expected(streams.joined, f"{tmp_path}/whole")

    class Killed(Repairable):
        def __call__(self, number):
            if number == 30 and not os.path.exists(f"{folder}/killed"):
                Path(folder, "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(number)

    streams.run(streams.joined, folder, Killed(folder), "processes", checkpoint=f"{folder}/c")
    assert outputs(folder) == whole


@pytest.mark.parametrize("window", CUTTER)
def test_filter_is_killed_at_a_cut(make_folder, window):
    folder = make_folder()
    trap = TrappedFilter(window, Path(folder, "killed"))

    def run():
        stream = pardata.source(range(ITEMS)).map(Repairable(folder, ITEMS - 9), chunksize=1) | trap
        stream.to(Lines(f"{folder}/a.txt")).run(checkpoint=f"{folder}/c")

    with pytest.raises(ValueError, match="not yet"):
        run()
    first = len(calls_in(folder))
    Path(folder, "repaired").touch()
    run()
    assert Path(folder, "a.txt").read_text().split() == [str(2 * n + 1) for n in range(ITEMS) for _ in range(2)]
    assert trap.marker.exists() and calls_in(folder)[first] > 4


def test_a_torn_cut_is_not_taken(make_folder, tmp_path):
    folder, whole = make_folder(), streams.expected(streams.folded, f"{tmp_path}/whole")
    options = {"engine": "threads", "checkpoint": f"{folder}/c"}
    with pytest.raises(ValueError, match="not yet"):
        streams.run(streams.folded, folder, Repairable(folder, ITEMS - 9), tokens=2, **options)
    Path(folder, "repaired").touch()
    number, newest = folders.newest_state(f"{folder}/c")
    index, taken, _ = next(stage for stage in newest["stages"] if stage[1])
    Path(f"{folder}/c/stage-{index}-{taken}").write_bytes(b"torn")
    streams.run(streams.folded, folder, Repairable(folder, ITEMS - 9), **options)
    assert number > 1 and outputs(folder) == whole


def plain(folder, source=range(ITEMS), work=float, name="a.npy"):
    return pardata.source(source, name="numbers").map(work, name="work").to(f"{folder}/{name}")


def test_a_folder_that_the_job_writes_is_refused_and_not_made(tmp_path):
    stream = pardata.source(range(3)).map(float).to(tmp_path / "k.npy")
    with pytest.raises(pardata.ConfigError, match=r"the job writes '.*k.npy': give a folder of its own"):
        stream.run(checkpoint=tmp_path / "k.npy")
    with pardata.WorkerPool(1, kind="thread") as pool, pytest.raises(pardata.ConfigError, match="of its own"):
        pool.map_array(np.sqrt, np.ones(3), out=tmp_path / "k.npy", checkpoint=tmp_path / "k.npy")
    assert not os.listdir(tmp_path)


def test_another_stream_is_refused(make_folder):
    folder = make_folder()
    options = {"engine": "serial", "checkpoint": f"{folder}/c"}
    plain(folder).run(**options)
    for stream, what in [
        (plain(folder, work=str), "'work'"),
        (plain(folder, range(ITEMS + 1)), "'numbers'"),
        (plain(folder, name="b.npy"), r"'a\.npy'"),
    ]:
        with pytest.raises(pardata.ConfigError, match=f"stage {what}.* changed since"):
            stream.run(**options)
    with pytest.raises(pardata.ConfigError, match="is that of run, not of map"), pardata.WorkerPool(1) as pool:
        pool.map(abs, [1], checkpoint=f"{folder}/c")
    held = folders.Folder(f"{folder}/d", "run", [])
    with pytest.raises(pardata.ConfigError, match="is being used by process"):
        plain(folder).run(engine="serial", checkpoint=f"{folder}/d")
    held.close()
    os.unlink(f"{folder}/a.npy")
    with pytest.raises(pardata.ConfigError, match=r"a\.npy.* is gone"):
        plain(folder).run(**options)


def cannot(folder):
    """Streams that cannot go on, and what the error names."""
    numbers = pardata.source(range(3))
    left, right = numbers.scatter(2)
    path = f"{folder}/a.npy"

    async def sink(item):
        pass

    yield pardata.source(iter([1])).to(path), "'source'.*an iterator gives its items once"
    yield pardata.source({1, 2}).to(path), "'source'.*sorted"
    mixed = pardata.merge(numbers, pardata.source([1, 2])).batch(2).map(len)
    yield pardata.concat(mixed, pardata.source([3])).to(path), r"'concat'.*beside others.*of 'batch\(2\)'.*round_robin"
    yield pardata.merge(mixed.map(abs), mixed).to(path), r"'a\.npy'.*beside others.*of 'batch\(2\)'"
    yield (numbers | itertools.accumulate).to(path), r"'accumulate'.*snapshot\(\) and restore\(state\)"
    yield numbers.map(abs, workers=2, ordered=False).to(path), r"'a\.npy'.*out of order, from 'abs'"
    yield numbers.map(abs, workers=2, ordered=False).batch(2).map(len).to(path), r"'batch\(2\)'.*out of order"
    yield pardata.merge(left, right).to(path), "'scatter'.*partition"
    yield numbers.to([]), "'list'.*lost with it"
    yield numbers.to([].append, kind="thread"), "lost with it"
    yield numbers.to(functools.partial([].append), kind="thread"), "lost with it"
    yield numbers.to(sink), "'sink'.*coroutine"
    if find_spec("zarr"):
        import zarr

        memory = zarr.create_array(zarr.storage.MemoryStore(), shape=(3,), dtype="f8")
        yield numbers.to(memory), "cannot be opened again: it is in the memory of this process"
    if find_spec("h5py"):
        yield numbers.to(f"{folder}/a.h5"), r"'a\.h5'.*may damage a file of this format"
    yield numbers.map(print), r"'print'.*to\(\.\.\.\)"


def test_what_cannot_take_part_is_refused_by_name(make_folder):
    folder = make_folder()
    for stream, what in cannot(folder):
        with pytest.raises(pardata.PlanError, match=what):
            stream.run(checkpoint=f"{folder}/c")
    with pytest.raises(pardata.ConfigError, match="restart=True goes with"):
        plain(folder).run(restart=True)
    assert os.listdir(folder) == []


def test_a_partial_of_a_sink_takes_part_as_the_sink(make_folder):
    lines = Lines(f"{make_folder()}/a.txt")
    for sink in (lines, functools.partial(lines), functools.partial(functools.partial(lines.__call__))):
        assert committing(sink) is lines


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_and_one_item(make_folder, engine):
    for count in (0, 1):
        folder = make_folder()
        for _ in range(2):
            ends = plain(folder, range(count)), pardata.source(range(count)).to(Lines(f"{folder}/a.txt"))
            ends[0].run(engine=engine, checkpoint=f"{folder}/c")
            ends[1].run(engine=engine, checkpoint=f"{folder}/d")
        assert len(np.load(f"{folder}/a.npy")) == count and Path(folder, "a.txt").read_text() == "0\n" * count


def test_a_source_that_gives_fewer_items_is_refused(make_folder):
    folder = make_folder()

    def items():
        if not os.path.exists(f"{folder}/shorter"):
            yield from range(ITEMS)

    def stream():
        return (pardata.source(items).map(Repairable(folder, ITEMS - 1)) | Running()).to(f"{folder}/a.npy")

    with pytest.raises(ValueError, match="not yet"):
        stream().run(engine="threads", checkpoint=f"{folder}/c", tokens=2)
    Path(folder, "shorter").touch()
    with pytest.raises(pardata.ConfigError, match="'items' gives only 0 items"):
        stream().run(engine="threads", checkpoint=f"{folder}/c")


def test_the_command_line_tells_what_is_there(make_folder, capsys):
    folder = make_folder()
    command_line.main(["checkpoint", f"{folder}/c"])
    with pytest.raises(ValueError, match="not yet"):
        plain(folder, work=Repairable(folder, ITEMS - 1)).run(engine="serial", checkpoint=f"{folder}/c")
    command_line.main(["checkpoint", f"{folder}/c"])
    Path(folder, "repaired").touch()
    plain(folder, work=Repairable(folder, ITEMS - 1)).run(engine="serial", checkpoint=f"{folder}/c")
    command_line.main(["checkpoint", f"{folder}/c"])
    with pardata.WorkerPool(1, kind="thread") as pool:
        list(pool.map(abs, range(5), checkpoint=f"{folder}/d"))
        pool.map_array(np.sqrt, np.ones(7), out=f"{folder}/x.npy", checkpoint=f"{folder}/e")
    command_line.main(["checkpoint", f"{folder}/d"])
    command_line.main(["checkpoint", f"{folder}/e"])
    told = capsys.readouterr().out
    assert "there is no checkpoint" in told and "checkpoint of run" in told and "'numbers', stage 'work'" in told
    many = description._in_lines("of: ", [f"stage 'number {n}'" for n in range(30)]).splitlines()
    assert max(map(len, many)) <= 100 and all(line.endswith(("',", "'")) for line in many)
    assert f"all items below number {ITEMS - 2} of the source are done" in told
    assert "the results of 5 items are stored" in told and told.count("\ndone\n") == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_ends_the_run_and_the_cut_before_it_counts(make_folder, monkeypatch, engine):
    folder = make_folder()
    commit, left = folders.Folder.commit, [3]

    def full(self, *arguments):
        left[0] -= 1
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device", self.path)
        commit(self, *arguments)

    monkeypatch.setattr(folders.Folder, "commit", full)
    with pytest.raises(OSError, match="No space left"):
        plain(folder).run(engine=engine, checkpoint=f"{folder}/c", tokens=2)
    assert left[0] <= 0
    plain(folder).run(engine=engine, checkpoint=f"{folder}/c")
    assert np.array_equal(np.load(f"{folder}/a.npy"), np.arange(ITEMS, dtype=float))


@needs_zarr
def test_a_new_zarr_file_takes_the_place_of_nothing(make_folder):
    folder = make_folder()

    def run():
        plain(folder, work=Repairable(folder, ITEMS - 9), name="a.zarr").run(engine="serial", checkpoint=f"{folder}/c")

    os.mkdir(f"{folder}/a.zarr")
    with pytest.raises(pardata.ConfigError, match="is there already"):
        run()
    os.rmdir(f"{folder}/a.zarr")
    with pytest.raises(ValueError, match="not yet"):
        run()
    (begun,) = (path for path in Path(folder).iterdir() if path.suffix == ".begun")
    Path(begun, "c.1.partial").touch()
    Path(folder, "repaired").touch()
    os.mkdir(f"{folder}/a.zarr")
    with pytest.raises(pardata.ConfigError, match="is there already"):
        run()
    os.rmdir(f"{folder}/a.zarr")
    begun.rename(f"{folder}/elsewhere")
    with pytest.raises(pardata.ConfigError, match="begun', which it belongs to, is gone; restart=True"):
        run()
    Path(folder, "elsewhere").rename(begun)
    run()
    assert pardata.open(f"{folder}/a.zarr")[:].tolist() == [2 * number for number in range(ITEMS)]
    assert not list(Path(folder).rglob("*.partial"))
    run()


def test_a_cut_of_an_older_version_is_refused(make_folder, capsys):
    folder = make_folder()
    plain(folder).run(engine="serial", checkpoint=f"{folder}/c")
    plan = Path(folder, "c", "plan").read_bytes()
    for name in os.listdir(f"{folder}/c"):
        os.unlink(f"{folder}/c/{name}")
    Path(folder, "c", "plan").write_bytes(plan)
    Path(folder, "c", "state.1").write_bytes(folders.encoded(1, {"numbers": [[0, 5]], "stages": [[2, 5, 0]]}))
    with pytest.raises(pardata.ConfigError, match="or of an older version; restart=True begins again"):
        plain(folder).run(engine="serial", checkpoint=f"{folder}/c")
    command_line.main(["checkpoint", f"{folder}/c"])
    assert "something is done, by an older version" in capsys.readouterr().out


def test_what_is_random_stays_what_it_was(make_folder):
    folder = make_folder()

    def noisy(number):
        if number == ITEMS - 1 and not os.path.exists(f"{folder}/repaired"):
            raise ValueError("not yet")
        return pardata.worker().random.random()

    def run(name, **options):
        return pardata.source(range(ITEMS)).map(noisy).to(f"{folder}/{name}").run(engine="threads", tokens=2, **options)

    with pytest.raises(ValueError, match="not yet"):
        run("a.npy", checkpoint=f"{folder}/c")
    seed = folders.plan_of(f"{folder}/c")["extra"]["seed"]
    Path(folder, "repaired").touch()
    run("a.npy", checkpoint=f"{folder}/c")
    run("b.npy", seed=seed)
    assert Path(folder, "a.npy").read_bytes() == Path(folder, "b.npy").read_bytes()


@pytest.mark.parametrize("engine", ["serial", "threads"])
def test_two_runs_that_have_begun_one_file_do_not_share_it(make_folder, engine):
    folder = make_folder()

    def run(sign, bad, name):
        def work(number):
            if number >= bad and not os.path.exists(f"{folder}/repaired"):
                raise ValueError("not yet")
            return sign * number

        plain(folder, work=work).run(engine=engine, checkpoint=f"{folder}/{name}", tokens=2)
        return np.load(f"{folder}/a.npy")

    jobs = [(1, ITEMS - 9, "c"), (-1, ITEMS - 5, "d")]
    for job in jobs:
        with pytest.raises(ValueError, match="not yet"):
            run(*job)
    Path(folder, "repaired").touch()
    for job in jobs:
        assert np.array_equal(run(*job), job[0] * np.arange(ITEMS))
    with pytest.raises(pardata.ConfigError, match=r"a\.npy.* was replaced by another file"):
        run(*jobs[0])


class OwnFile:
    """A sink of the user's that has a file of its own until it is whole, by the names that pardata's sinks use."""

    def __init__(self, folder):
        self.path, self.part = f"{folder}/own", f"{folder}/own.part"

    def __call__(self, number):
        with open(self.part, "a") as file:
            file.write(f"{number} ")

    def commit(self):
        return None

    def restore(self, state):
        Path(self.part).unlink(missing_ok=True)


def test_the_file_of_a_sink_of_the_users_is_its_own(make_folder):
    folder = make_folder()
    pardata.source(range(3)).to(OwnFile(folder)).run(engine="serial", checkpoint=f"{folder}/c")
    assert Path(folder, "own.part").read_text() == "0 1 2 " and not Path(folder, "own").exists()


def test_a_file_that_was_cut_is_refused(make_folder):
    folder = make_folder()

    def run():
        plain(folder, work=Repairable(folder, ITEMS - 9)).run(engine="serial", checkpoint=f"{folder}/c", tokens=2)

    with pytest.raises(ValueError, match="not yet"):
        run()
    (begun,) = (path for path in Path(folder).iterdir() if path.suffix == ".begun")
    os.truncate(begun, 140)
    Path(folder, "repaired").touch()
    with pytest.raises(ValueError, match=r"begun was cut"):
        run()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_filters_give_at_the_end_is_not_given_again(make_folder, monkeypatch, engine):
    folder = make_folder()

    def run():
        numbers = pardata.source(range(ITEMS))
        ends = [
            numbers.reduce(streams.add, 0).to(f"{folder}/a.npy"),
            numbers.batch(7).map(sum).to(f"{folder}/b.npy"),
            numbers.batch(7).to(Lines(f"{folder}/c.txt")),
        ]
        pardata.run(*ends, engine=engine, checkpoint=f"{folder}/c", tokens=2)

    def killed(self, report):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(going_on.StreamCheckpoint, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            run()
    run()
    batches = [list(range(at, min(at + 7, ITEMS))) for at in range(0, ITEMS, 7)]
    assert np.load(f"{folder}/a.npy").tolist() == [sum(range(ITEMS))]
    assert np.load(f"{folder}/b.npy").tolist() == [sum(batch) for batch in batches]
    assert Path(folder, "c.txt").read_text().splitlines() == [str(batch) for batch in batches]
