"""CPython's own tests of Executor, as_completed and wait, run on `WorkerPool`. They are not copied here."""

import sys
import unittest

import pytest

import pardata

REASON = "the tests of concurrent.futures as CPython 3.13 has them come with a Python of that version or a later one"

if sys.version_info < (3, 13):
    pytest.skip(REASON, allow_module_level=True)
pytest.importorskip("test.test_concurrent_futures", reason=REASON)

from test import support  # noqa: E402
from test.test_concurrent_futures import executor, test_as_completed, test_wait, util  # noqa: E402


class _ProcessPool(util.ExecutorMixin):
    executor_type = pardata.WorkerPool


class _ThreadPool(util.ExecutorMixin):
    executor_type = staticmethod(lambda max_workers: pardata.WorkerPool(max_workers=max_workers, kind="thread"))


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
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    assert suite.countTestCases() > 3
    result = unittest.TestResult()
    suite.run(result)
    assert [(str(test), text) for test, text in result.failures + result.errors] == []
    assert not (resources and result.skipped)
