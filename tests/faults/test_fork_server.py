"""The fork server is killed or stopped: what it was asked for is done, and what it had forked is gone."""

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
