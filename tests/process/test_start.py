"""The way of a worker from its fork to its first item: the fork server has done whatever is alike for all."""

import sys

import pytest

import pardata
from pardata.process import launcher
from pardata.process.launcher import fork_server


@pytest.fixture(scope="module")
def audited():
    """A server whose workers note what they load, and another one for the tests behind it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "_PRELOAD", (*launcher._PRELOAD, "tests.process.start_audit"))
        fork_server.stop()
        yield
    fork_server.stop()


@pytest.mark.parametrize("kind", ["pool", "run"])
def test_a_worker_loads_and_opens_nothing_before_its_first_item(kind, audited):
    if kind == "pool":
        with pardata.WorkerPool(1) as pool:
            assert pool.submit(lambda: sys.pardata_noted).result() == []
    else:
        assert list(pardata.source([0]).map(lambda _: sys.pardata_noted)) == [[]]
