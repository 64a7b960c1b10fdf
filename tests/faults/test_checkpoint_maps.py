"""`pool.map` with a checkpoint: results that were stored are not computed again, whatever has ended the call before."""

import os
from unittest import mock

import numpy as np
import pytest

import pardata
from pardata.checkpoint import folder as folders
from pardata.checkpoint import results as logs
from tests.faults.cuts import ENDS, end_at_each_step

KINDS = ["process", "thread"]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(folders, "CUT_S", 0.0)
    monkeypatch.setattr(logs, "APPEND_S", 0.0)


class Noted:
    """Squares numbers, and notes which; number `bad` fails until somebody has repaired it."""

    def __init__(self, folder, bad=-1):
        self.folder, self.bad = folder, bad

    def __call__(self, number):
        with open(f"{self.folder}/calls", "a") as calls:
            calls.write(f"{number}\n")
        if number == self.bad and not os.path.exists(f"{self.folder}/repaired"):
            raise ValueError("not yet")
        return {"square": number**2, "array": np.full(3, number)}

    def calls(self):
        with open(f"{self.folder}/calls") as file:
            return [int(line) for line in file]


def squares(made):
    return [(result["square"], result["array"].tolist()) for result in made]


def expected(count):
    return [(number**2, [number] * 3) for number in range(count)]


@pytest.mark.parametrize("end", ENDS)
def test_ended_at_any_step_it_goes_on(make_folder, end):
    def job(folder):
        with pardata.WorkerPool(1, kind="thread") as pool:
            for number, result in enumerate(pool.map(str, range(6), chunksize=2, checkpoint=f"{folder}/c")):
                assert result == str(number)

    def check(folder):
        with pardata.WorkerPool(1, kind="thread") as pool:
            assert list(pool.map(str, range(6), checkpoint=f"{folder}/c")) == [str(number) for number in range(6)]

    assert end_at_each_step(make_folder, job, check, end) > 8


@pytest.mark.parametrize("kind", KINDS)
def test_results_that_were_stored_are_not_computed_again(make_folder, kind):
    folder = make_folder()
    noted = Noted(folder, bad=7)
    with pardata.WorkerPool(2, kind=kind) as pool:
        with pytest.raises(ValueError, match="not yet"):
            list(pool.map(noted, range(20), chunksize=2, checkpoint=f"{folder}/c"))
        before = noted.calls()
        open(f"{folder}/repaired", "w").close()
        assert squares(pool.map(noted, range(20), checkpoint=f"{folder}/c")) == expected(20)
        again = noted.calls()[len(before) :]
        assert 7 in again and not {0, 1, 2, 3} & set(again)
        assert squares(pool.map(noted, range(20), checkpoint=f"{folder}/c")) == expected(20)
        assert len(noted.calls()) == len(before) + len(again)
        first = next(pool.map(noted, range(20), checkpoint=f"{folder}/c"))
        first["array"][:] = -1
        assert squares(pool.map(noted, range(20), checkpoint=f"{folder}/c")) == expected(20)
        assert squares(pool.map(noted, range(20), checkpoint=f"{folder}/c", restart=True)) == expected(20)
        assert len(noted.calls()) == len(before) + len(again) + 20


def test_what_a_result_is_later_does_not_count(make_folder):
    folder = make_folder()
    with pardata.WorkerPool(1, kind="thread") as pool:
        for result in pool.map(Noted(folder), range(5), chunksize=1, checkpoint=f"{folder}/c"):
            result["array"][:] = -1
        assert squares(pool.map(Noted(folder), range(5), checkpoint=f"{folder}/c")) == expected(5)


def test_a_torn_log_is_cut_off_and_other_jobs_are_refused(make_folder):
    folder = make_folder()
    noted = Noted(folder)
    with pardata.WorkerPool(1, kind="thread") as pool:
        list(pool.map(noted, range(10), chunksize=5, checkpoint=f"{folder}/c"))
        with open(f"{folder}/c/results", "r+b") as file:
            data = file.read()
            file.seek(len(data) - 3)
            file.write(b"xyz")
        with open(f"{folder}/c/results", "ab") as file:
            file.write(data[:40])
        assert squares(pool.map(noted, range(10), checkpoint=f"{folder}/c")) == expected(10)
        assert len(noted.calls()) > 10
        with pytest.raises(pardata.ConfigError, match="the items changed"):
            pool.map(noted, range(11), checkpoint=f"{folder}/c")
        with pytest.raises(pardata.ConfigError, match=r"the function 'Noted'.*changed"):
            pool.map(str, range(10), checkpoint=f"{folder}/c")
        with pytest.raises(pardata.ConfigError, match="is that of map, not of map_array"):
            pool.map_array(np.sqrt, np.ones(3), out=f"{folder}/x.npy", checkpoint=f"{folder}/c")
        with pytest.raises(pardata.ConfigError, match="buffersize"):
            pool.map(noted, range(10), buffersize=2, checkpoint=f"{folder}/c")
        results = pool.map(noted, range(10), checkpoint=f"{folder}/c")
        with pytest.raises(pardata.ConfigError, match="is being used"):
            pool.map(noted, range(10), checkpoint=f"{folder}/c")
        results.close()
        assert list(pool.map(noted, [], checkpoint=f"{folder}/empty")) == []
        with pytest.raises(pardata.SerializationError, match="cannot be stored"):
            list(pool.map(lambda number: (each for each in [number]), [1], checkpoint=f"{folder}/d"))


def test_a_mock_has_an_end(make_folder):
    with pardata.WorkerPool(1, kind="thread") as pool:
        for fn in (mock.MagicMock(return_value=3), mock.Mock(return_value=3)):
            assert list(pool.map(fn, [1], checkpoint=f"{make_folder()}/c")) == [3]


def test_the_log_is_not_per_item(make_folder, monkeypatch):
    folder = make_folder()
    monkeypatch.setattr(logs, "APPEND_S", 60.0)
    with pardata.WorkerPool(1, kind="thread") as pool:
        list(pool.map(abs, range(2000), chunksize=1, checkpoint=f"{folder}/c"))
    with open(f"{folder}/c/results", "rb") as file:
        assert [ranges for *_, ranges in logs.records(file)] == [[(0, 2000)]]
