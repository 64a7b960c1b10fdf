"""Stages with workers="auto": workers begin, rest and go on at any moment, and what comes out stays the same."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import pardata
from pardata.engines.processes.tuner import ProcessTuner
from pardata.errors import CapacityError
from pardata.runtime.header import CURRENT_CALL, RESTS
from pardata.runtime.supervisor import Supervisor
from tests.faults.killer import Killer
from tests.faults.restless import restless_workers

SEED = int.from_bytes(os.urandom(3), "little")


@pytest.fixture
def restless():
    """Workers begin and rest all the time."""
    with restless_workers():
        yield


def numbers():
    yield from range(200)


def frames():
    for number in range(40):
        yield np.full((40, 500), float(number))


def double(item):
    return item * 2


def is_kept(item):
    return float(np.asarray(item).flat[0]) % 6 != 0


def raises_at_30(item):
    if np.asarray(item).flat[0] == 30:
        raise ValueError("thirty")
    return item


def slow(item):
    time.sleep(0.001)
    return item


def chain(source):
    return source.map(double, workers="auto").filter(is_kept, workers="auto").map(slow, workers="auto")


def diamond(source):
    stem = source.map(slow, workers="auto")
    return pardata.zip(stem.map(double, workers="auto"), stem.filter(is_kept, workers="auto")).map(slow, workers="auto")


def letters(source):
    good = source.map(raises_at_30, workers="auto", errors="stream")
    return pardata.merge(good, good.failed.map(lambda letter: -1, workers="auto"), policy="ordered")


def regrouped(source):
    even, odd = source.map(slow, workers="auto").partition(lambda item: int(np.asarray(item).flat[0]), 2)
    parts = [part.map(double, workers="auto") for part in (even, odd)]
    return pardata.merge(*parts, policy="ordered").batch(7).flat_map(list, workers="auto")


def key(item):
    """What an item is equal by."""
    return tuple(map(key, item)) if isinstance(item, list | tuple) else np.asarray(item).tolist()


@pytest.mark.parametrize("engine", ["processes", "threads"])
@pytest.mark.parametrize(
    ("make", "source"), [(chain, frames), (diamond, numbers), (letters, frames), (regrouped, numbers)]
)
def test_what_comes_out_is_what_the_serial_engine_gives(make, source, engine, restless):
    expected = [key(item) for item in make(pardata.source(source)).iterate(engine="serial", cores=6)]
    with make(pardata.source(source)).iterate(engine=engine, cores=6) as run:
        assert [key(item) for item in run] == expected


@pytest.mark.parametrize("make", [chain, letters])
def test_workers_that_come_and_go_may_be_killed(make, restless):
    expected = [key(item) for item in make(pardata.source(frames)).iterate(engine="serial", cores=5)]
    with make(pardata.source(frames)).iterate(cores=5) as run:
        killer = Killer(run, SEED, most=6)
        killer.start()
        try:
            assert [key(item) for item in run] == expected, f"seed {SEED}"
        finally:
            killer.stop()


def test_a_worker_that_rests_may_be_killed(restless):
    with pardata.source(numbers).map(slow, workers="auto", chunksize=1).iterate(cores=3, max_restarts=1) as run:
        got = [next(run)]
        spares = run._parts.supervisor.workers
        while len(spares) < 4:
            got.append(next(run))
        resting = next(worker for worker in spares if worker.stage == "slow" and worker is not spares[1])
        os.kill(resting.process.pid, signal.SIGKILL)
        assert got + list(run) == list(numbers())
        assert run.report().stages[1].restarts <= 1


def test_a_run_whose_last_stage_shares_the_cores_ends_with_all_of_its_workers(tmp_path, restless):
    def write(number):
        (tmp_path / str(number)).touch()

    pardata.source(numbers).map(write, workers="auto").run(cores=4)
    assert len(list(tmp_path.iterdir())) == 200


def test_where_the_system_has_no_process_the_run_goes_on_without(restless, monkeypatch):
    started = Supervisor.start

    def refuse(self, worker):
        if worker.words[RESTS]:
            raise CapacityError("no process")
        started(self, worker)

    monkeypatch.setattr(Supervisor, "start", refuse)
    report = pardata.source(numbers).map(double, workers="auto").map(slow, workers="auto").run(cores=4)
    assert report.workers == {"double": 1, "slow": 1}
    assert report.stages[2].items == 200


def test_memory_is_kept_to_its_limit(restless):
    stream = pardata.source(frames).map(double, workers="auto").map(slow, workers="auto")
    got = [float(frame[0, 0]) for frame in stream.iterate(cores=4, memory_limit="2MB")]
    assert got == [2.0 * number for number in range(40)]


def test_little_memory_narrows_a_stage():
    stream = pardata.source(range(3)).map(abs, workers="auto")
    with stream.iterate(cores=40, memory_limit=1_000_000) as run:
        assert list(run) == [0, 1, 2]
        assert 1 < sum(worker.stage == "abs" for worker in run._parts.processes) < 10


def test_a_recorded_run_shows_the_workers_that_began(restless, tmp_path):
    report = pardata.source(numbers).map(slow, workers="auto").run(cores=3, record=True)
    report.save(tmp_path / "run.html")
    shown = {worker.index for worker in report.surroundings.record.workers if worker.stage == "slow"}
    assert {0, 1} <= shown <= {0, 1, 2}


def test_a_recorded_run_does_not_show_workers_that_never_began():
    report = pardata.source([1]).map(abs, workers="auto").run(cores=9, record=True)
    assert [worker.index for worker in report.surroundings.record.workers if worker.stage == "abs"] == [0]


def wait_for(path):
    """Return a function that waits for a byte in a pipe, so that its stage is busy all the time."""

    def held(number):
        pipe = os.open(path, os.O_RDONLY)
        os.read(pipe, 1)
        os.close(pipe)
        return number

    return held


def all_of_them(items):
    yield from list(items)


def test_the_busy_stage_gets_the_cores(tmp_path):
    """No time is asserted: items are done only when the stage has all its workers, after the source has ended."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    numbers = pardata.source(range(8)) | all_of_them
    stream = numbers.map(double, workers="auto").map(wait_for(path), workers="auto", name="held")
    with stream.iterate(cores=5) as run:
        taker = run._loop._tuner
        assert isinstance(taker, ProcessTuner)
        late = []

        def look():
            due_s = ProcessTuner.look(taker)
            if taker.allotment.workers[3] == 3 and not late:
                late.append(os.open(path, os.O_RDWR))
                os.write(late[0], b"x" * 8)
            return due_s

        taker.look = look
        try:
            assert list(run) == [2 * number for number in range(8)]
        finally:
            os.close(late[0])
        report = run.report()
    assert report.workers == {"double": 1, "held": 3}
    assert 'workers="auto" came to: double 1, held 3' in str(report)
    assert report.stages[3].workers == 3
    assert report.as_dict()["stages"][3]["workers"] == 3


def test_threads_are_added_though_all_items_lie_in_front_of_the_stage():
    together = threading.Barrier(3, timeout=60)

    def work(item):
        time.sleep(0.05)  # what an item costs
        return item == 0 or together.wait() < 3

    stream = pardata.source(range(4)).map(work, workers="auto", chunksize=1)
    assert list(stream.iterate(engine="threads", cores=3)) == [True] * 4


def test_a_call_and_a_wait_that_go_on_count_on_threads():
    begun, end = threading.Event(), threading.Event()

    def held(item):
        begun.set()
        end.wait()
        return item

    stream = pardata.source(range(2)).map(held, workers="auto", chunksize=1).map(abs, workers="auto")
    with stream.iterate(engine="threads", cores=4) as run:
        begun.wait()
        (_, held_before, waits_before), (_, held_now, waits_now) = run._tuner.counts(), run._tuner.counts()
        end.set()
        assert held_now.busy_s > held_before.busy_s and held_now.waited_s == held_before.waited_s
        assert waits_now.waited_s > waits_before.waited_s and waits_now.items == 0
        assert list(run) == [0, 1]


def test_time_spent_resting_is_not_starved(restless):
    with pardata.source(numbers).map(slow, workers="auto").iterate(cores=3) as run:
        for _ in range(150):
            next(run)
        tuner, statistics = run._loop._tuner, run.report().stages
        statistics[1].starved_s = 100.0
        tuner.correct(statistics)
        rested_s = tuner._rested_ns[tuner._stages[1]] / 1e9
    assert 0 < rested_s == pytest.approx(100.0 - statistics[1].starved_s)


def test_few_descriptors_narrow_a_stage(monkeypatch):
    monkeypatch.setattr("pardata.engines.processes.layout.free_descriptors", lambda: 200)
    with pardata.source(range(10)).map(abs, workers="auto").map(slow, workers="auto").iterate(cores=10**12) as run:
        workers = [worker for worker in run._parts.processes if worker.stage == "slow"]
        assert 1 < len(workers) < 10
        assert list(run) == list(range(10))


def test_a_stalled_run_does_not_tell_of_workers_that_rest():
    with pardata.source(range(3)).map(abs, workers="auto").iterate(cores=9) as run:
        told = run._loop._stall.explain()
        assert "worker 1" not in told
        assert list(run) == [0, 1, 2]
        assert all(not worker.words[CURRENT_CALL] for worker in run._parts.processes if worker.words[RESTS])


def test_a_signals_handler_may_make_a_report_while_the_run_counts(monkeypatch):
    reports, counts_of = [], ProcessTuner._counts_of

    def interrupted(tuner, stage, now_ns):  # in the middle of it
        if not reports:
            reports.append(None)
            reports[0] = run.report()
        return counts_of(tuner, stage, now_ns)

    with pardata.source(numbers()).map(double, workers="auto").iterate() as run:
        monkeypatch.setattr(ProcessTuner, "_counts_of", interrupted)
        assert [stage.name for stage in run.report().stages] == [stage.name for stage in reports[0].stages]
        assert list(run) == [2 * number for number in range(200)]
