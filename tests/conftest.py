"""After every test nothing of pardata is left: no process, thread, descriptor or shared memory."""

import contextlib
import gc
import os
import pickle
import threading
import time
from collections import Counter
from multiprocessing import resource_tracker
from pathlib import Path

import hypothesis
import pytest
from tqdm import tqdm

import pardata
from pardata.memory.named import session
from pardata.memory.named.guardian import registers
from pardata.memory.named.register import appear, prune, records
from pardata.memory.shared_heap import shared_heap
from pardata.process import launcher
from pardata.process.launcher import fork_server
from pardata.queue.waiters import Watcher

ENDING = ("pardata-closer", "pardata-relief")  # end runs that nobody held any more, or themselves when nothing is said


# A worker that gets a function of a test's module imports that, and pytest with it. The server that workers are forked
# from imports it once: thousands of workers would take 0.1 s each.
launcher._PRELOAD = (*launcher._PRELOAD, "pytest")

# On a busy machine an example takes as long as it takes: 0.2 s are no limit there, and a slow draw is no fault.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")


def worker_processes():
    """Process ids of the fork server's children."""
    if fork_server.pid is None:
        return []
    return Path(f"/proc/{fork_server.pid}/task/{fork_server.pid}/children").read_text().split()


def open_files():
    """What the descriptors of this process refer to: kind or path, without the inode numbers."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{entry}").split(":[")[0])
        except FileNotFoundError:
            pass  # the descriptor of the listing itself
    return found


def holdings():
    """All that pardata has now, kind by kind; each kind may only become less."""
    for thread in threading.enumerate():
        is_watcher = isinstance(thread, Watcher) and not thread.watched.is_alive()
        if thread.name in ENDING or is_watcher:  # the last ones look at queues
            thread.join()
            gc.collect()  # it may have had what is garbage now
    prune(session.tree().path)
    return {
        "spans of the segment": Counter(spans=shared_heap().spans_in_use),
        "worker processes": Counter(worker_processes()),
        "threads": Counter(thread.name for thread in threading.enumerate() if thread.name.startswith("pardata-")),
        "open files": Counter(open_files()),
        "named blocks": Counter(record.name for record in records(session.tree().path)),
        "processes of the session": Counter(registers(session.tree().path)),
    }


@pytest.fixture(autouse=True, scope="session")
def what_is_made_once():
    """The bars' lock, the session, and what other libraries start at their first use."""
    appear(session.tree().path)
    data = pickle.dumps(pardata.zeros(1))
    pickle.loads(data)  # opens the segment for locks, and as another process would
    resource_tracker.ensure_running()
    with contextlib.suppress(ImportError):
        from joblib.externals.loky.backend import resource_tracker as tracker_of_joblib

        tracker_of_joblib.ensure_running()
    with contextlib.suppress(ImportError):
        import polars

        polars.Series([1, None]).is_null()  # starts what polars computes with
    tqdm.get_lock()


@pytest.fixture(autouse=True, scope="module")
def what_other_modules_have_left_in_the_heap():
    """Libraries, examples and plans of other tests: the many collections of a module's tests need not look at them."""
    gc.collect()
    gc.freeze()


known = {}  # the holdings after the last test, unless something may have been made since


def pytest_fixture_setup(fixturedef):
    if fixturedef.scope != "function":
        known.clear()


def pytest_fixture_post_finalizer(fixturedef):
    if fixturedef.scope != "function":
        known.clear()


def more_than(before):
    """What there is now and was not before, kind by kind."""
    known.update(holdings())
    return {kind: dict(more) for kind, now in known.items() if (more := now - before[kind])}


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Fail the test if it has left something. Stacks are dumped after `faulthandler_timeout` (pyproject.toml)."""
    last_server = fork_server.pid
    fork_server.start()  # a test may have ended it
    if not known or fork_server.pid != last_server:
        known.update(holdings())
    before = dict(known)
    yield
    left = more_than(before)
    if left:  # most tests leave no garbage that has something; to collect it takes as long as they do
        gc.collect()
        left = more_than(before)
    end_s = time.monotonic() + 10
    while left.keys() == {"open files"} and time.monotonic() < end_s:
        time.sleep(0.01)  # the threads of TensorStore and Arrow close what they have read behind the result
        left = more_than(before)
    assert not left, f"left behind: {left}"


@pytest.fixture
def only_threads_of_the_test(monkeypatch):
    """A queue ends when nobody can put; without this, that waits for threads that a library of another test keeps.

    zarr and dask have some that never end, and for all a queue knows, they could put.
    """
    others = set(threading.enumerate()) - {threading.current_thread()}
    enumerate_all = threading.enumerate
    monkeypatch.setattr(threading, "enumerate", lambda: [each for each in enumerate_all() if each not in others])
