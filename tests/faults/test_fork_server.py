"""The fork server is killed or stopped: what it was asked for is done, and what it had forked is gone."""

import contextlib
import os
import signal
import time

import pytest

import pardata
from pardata.process import launcher
from pardata.process.launcher import fork_server
from tests.conftest import worker_processes
from tests.faults.fork_traps import WINDOWS


@pytest.fixture
def fresh_server():
    """A server that is started by the test, and another one for those behind it."""
    fork_server.stop()
    yield
    fork_server.stop()


@pytest.mark.parametrize("window", WINDOWS)
def test_killed_while_it_starts_a_worker(window, fresh_server, tmp_path, monkeypatch):
    marker = tmp_path / "killed"
    monkeypatch.setenv("PARDATA_TEST_TRAP", f"{window}:{marker}")
    monkeypatch.setattr(launcher, "_PRELOAD", ("tests.faults.fork_traps", *launcher._PRELOAD))
    with pardata.WorkerPool(2) as pool:
        assert list(pool.map(abs, range(40))) == list(range(40))
        assert len(worker_processes()) == 2
    assert marker.exists()
    assert list(pardata.source(range(40)).map(abs)) == list(range(40))
    assert worker_processes() == []


def test_a_request_that_is_broken_off_leaves_no_worker_and_the_next_one_is_answered(monkeypatch):
    """As by an exception that another thread raises there: the answer is for nobody."""

    class BrokenOff(BaseException): ...

    def break_off(sock):
        raise BrokenOff

    with monkeypatch.context() as patch:
        patch.setattr(fork_server, "_await", break_off)
        with pytest.raises(BrokenOff):
            pardata.WorkerPool(1)
    with pardata.WorkerPool(1) as pool:
        assert pool.submit(abs, -1).result() == 1
    assert worker_processes() == []


def wait_the_first_time(pipe, marker):
    if os.path.exists(marker):
        return "again"
    with open(marker, "w"), open(pipe, "wb") as told:
        told.write(b"%d" % os.getpid())
    time.sleep(3600)
    return "at once"


def work_of(kind, *arguments):
    """The results of one call of `wait_the_first_time`, by a pool or a run, when they are asked for."""
    if kind == "pool":
        with pardata.WorkerPool(2) as pool:
            task = pool.submit(wait_the_first_time, *arguments)
            yield
            yield [task.result()]
    else:
        with pardata.source([arguments]).map(lambda each: wait_the_first_time(*each)).iterate() as run:
            yield
            yield list(run)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL], ids=["stopped", "dead"])
@pytest.mark.parametrize("kind", ["pool", "run"])
def test_a_worker_dies_while_the_server_is_stopped_or_dead(kind, number, fresh_server, tmp_path, monkeypatch):
    """The parent holds the pidfd: it notices the death, and has the work done again."""
    for name in ("_ANSWER_S", "_REPORT_S", "_STOP_S"):
        monkeypatch.setattr(launcher, name, 0.05)
    reading, writing = os.pipe()
    work = work_of(kind, f"/proc/{os.getpid()}/fd/{writing}", str(tmp_path / "begun"))
    with contextlib.closing(work):
        next(work)
        victim = int(os.read(reading, 20))
        os.kill(fork_server.pid, number)
        with contextlib.suppress(ProcessLookupError):  # it ends with the server
            os.kill(victim, signal.SIGKILL)
        assert next(work) == ["again"]
    os.close(reading)
    os.close(writing)
