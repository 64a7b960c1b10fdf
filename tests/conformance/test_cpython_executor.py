"""CPython's own tests of Executor, as_completed and wait, run on `WorkerPool`. They are not copied here."""

import fcntl
import sys
import tempfile
import threading
import unittest

import pytest

import pardata

REASON = "the tests of concurrent.futures as CPython 3.13 has them come with a Python of that version or a later one"

if sys.version_info < (3, 13):
    pytest.skip(REASON, allow_module_level=True)
pytest.importorskip("test.test_concurrent_futures", reason=REASON)

from test import support  # noqa: E402
from test.test_concurrent_futures import executor, test_as_completed, test_wait, util  # noqa: E402

# What these ask for is an error of ours, with other words: `ConfigError`.
LEFT_OUT = {"test_map_buffersize_type_validation", "test_map_buffersize_value_validation"}


class _FileEvent:
    """An event that goes to other processes: it is set when its maker lets go of the lock on a file."""

    def __init__(self, file):
        self.path, self._file = file.name, file
        fcntl.flock(file, fcntl.LOCK_EX)

    def __getstate__(self):
        return {"path": self.path}

    def set(self):
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def wait(self):
        with open(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_SH)


class _ProcessPool(util.ExecutorMixin):
    executor_type = pardata.WorkerPool

    def create_event(self):
        return _FileEvent(self.enterContext(tempfile.NamedTemporaryFile()))


class _ThreadPool(util.ExecutorMixin):
    executor_type = staticmethod(lambda max_workers: pardata.WorkerPool(max_workers=max_workers, kind="thread"))

    def create_event(self):
        return threading.Event()


TESTS = [
    (executor.ExecutorTest, _ProcessPool, ["walltime"]),
    (test_as_completed.AsCompletedTests, _ProcessPool, ["walltime"]),
    (test_wait.WaitTests, _ProcessPool, ["walltime"]),
    (executor.ExecutorTest, _ThreadPool, []),  # without those that sleep for seconds
]


@pytest.mark.parametrize(("mixin", "pool", "resources"), TESTS)
def test_cpython_tests_pass(mixin, pool, resources, monkeypatch):
    monkeypatch.setattr(support, "use_resources", resources)
    case = type(mixin.__name__, (mixin, pool, unittest.TestCase), {})
    names = [name for name in unittest.defaultTestLoader.getTestCaseNames(case) if name not in LEFT_OUT]
    suite = unittest.TestSuite(map(case, names))
    assert suite.countTestCases() > 3
    result = unittest.TestResult()
    suite.run(result)
    assert [(str(test), text) for test, text in result.failures + result.errors] == []
    assert not (resources and result.skipped)
