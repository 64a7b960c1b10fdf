"""The report of a pool: its tasks, the sizes of chunks, idle tails, deaths; as a page and as a trace."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pardata
from tests.conformance.test_recording import page_of
from tests.conformance.traces import check_format


class DeadlyOnce:
    """Kills its process at item 5, unless a file says that it has done so."""

    def __init__(self, path):
        self.path = path

    def __call__(self, number):
        if number == 5 and not os.path.exists(self.path):
            with open(self.path, "w"):
                os.kill(os.getpid(), signal.SIGKILL)
        return number


def add_one(number):
    return number + 1


def fail(number):
    raise ValueError(number)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_each_task_is_recorded(kind, tmp_path):
    with pardata.WorkerPool(2, kind=kind, record=True, name="<b>") as pool:
        list(pool.map(add_one, range(100)))
        pool.map_array(np.negative, np.ones((50_000, 4)))
        assert pool.submit(add_one, 1).result() == 2
        with pytest.raises(ValueError, match="3"):
            pool.submit(fail, 3).result()
        if kind == "process":
            list(pool.map(DeadlyOnce(str(tmp_path / "killed")), range(10), chunksize=1))
        told = pool._repr_html_()
    report = pool.report()  # of a pool that has ended, too
    record = report.surroundings.record
    done = {}
    for chunk in record.chunks:
        done[chunk.kind, chunk.job] = done.get((chunk.kind, chunk.job), 0) + chunk.done
        assert record.begin_ns <= chunk.begin_ns <= chunk.end_ns <= record.end_ns
    assert done == {("map", 0): 100, ("map_array", 1): 50_000, ("call", -1): 2} | (
        {("map", 2): 10} if kind == "process" else {}
    )
    assert sum(chunk.has_failed for chunk in record.chunks) == 1
    assert len(record.chunks) == sum(worker["tasks"] for worker in report.statistics["workers"])
    assert [death.how.split(" ")[2] for death in record.deaths] == ["SIGKILL"] * (kind == "process")
    page = page_of(report, tmp_path)
    assert "map_array 1" in page.text and "idle tail" in page.text and ("SIGKILL" in page.text) == (kind == "process")
    assert "&lt;b&gt; 1" in told and "<b> 1" in str(report) and "<b> 1" in page.text
    report.trace(tmp_path / "pool.json")
    slices = check_format(json.loads((tmp_path / "pool.json").read_text()))
    assert len(slices) == len(record.chunks)


def test_a_pool_that_is_not_recorded_says_how(tmp_path):
    with pardata.WorkerPool(1, kind="thread") as pool:
        list(pool.map(add_one, range(3)))
        report = pool.report()
    page = page_of(report, tmp_path)
    assert "WorkerPool(record=True)" in page.text and "Chunks of the last maps" in page.text
    with pytest.raises(pardata.ConfigError, match="record=True"):
        report.trace(tmp_path / "pool.json")


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_report_of_a_closed_pool_stays_as_it_is(kind):
    with pardata.WorkerPool(1, kind=kind, record=True) as pool:
        pool.submit(add_one, 1).result()
        before = pool.statistics()
    report = pool.report()
    assert all(report.statistics["workers"][0][key] == before["workers"][0][key] for key in ("start_s", "tasks"))
    assert report.statistics["workers"][0].get("processes") == before["workers"][0].get("processes")
    assert report.statistics.get("received_bytes") == before.get("received_bytes")
    with pardata.WorkerPool(1, kind=kind) as other:  # it may have the memory now
        other.submit(add_one, 1).result()
        assert pool.report() == report


def test_a_report_is_made_while_the_memory_of_the_workers_is_there(monkeypatch):
    """The pool's thread gives it back under the pool's lock."""
    with pardata.WorkerPool(1, record=True) as pool:
        lock, noted, can_take = pool._backend._lock, pool._backend._loop.log.noted, []

        def take():
            is_free = lock.acquire(blocking=False)
            if is_free:
                lock.release()
            return is_free

        def watched():
            with ThreadPoolExecutor(1) as thread:
                can_take.append(thread.submit(take).result())
            return noted()

        monkeypatch.setattr(pool._backend._loop.log, "noted", watched)
        pool.report()
        assert can_take == [False]


def test_the_longest_calls_are_named_by_what_was_called():
    with pardata.WorkerPool(1, kind="thread") as pool:
        pool.submit(add_one, 1).result()
        list(pool.map(add_one, [1]))
        pool.map_array(np.negative, np.ones(1))
        assert {what for _, what in pool.statistics()["longest"]} == {
            "a call",
            "item 0 of a map",
            "item 0 of a map_array",
        }
