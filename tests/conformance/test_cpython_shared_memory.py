"""The running Python's own tests of `multiprocessing.shared_memory`, on our classes instead of its own.

Its test module names the classes through `shared_memory`, which is replaced there. Tests that are left out ask for
something else than the documented behaviour; each says what.
"""

import multiprocessing
import types
import unittest
from multiprocessing import forkserver
from unittest import mock

import pytest

from pardata.memory.named.block import SharedMemory
from pardata.memory.named.manager import SharedMemoryManager
from pardata.memory.named.shareable_list import ShareableList
from tests.conformance import stdlib_lists  # noqa: F401 - starts the resource tracker, which the tests use

cpython = pytest.importorskip("test._test_multiprocessing", reason="this Python was installed without its tests")

if multiprocessing.get_start_method() == "forkserver":  # from Python 3.14 on
    forkserver.ensure_running()  # it stays, with its pipe: started before a test counts the open files

OURS = types.SimpleNamespace(SharedMemory=SharedMemory, ShareableList=ShareableList, _USE_POSIX=True)

PATCHES = "replaces the function that makes the standard library's names"
OTHER_PROCESS = "runs a script that imports the standard library's classes"
EMPTY = "asks for an error for a block of size 0, which is one here like any other"

LEFT_OUT = {
    "test_shared_memory_basics": PATCHES,
    "test_shared_memory_recreate": PATCHES,
    "test_invalid_shared_memory_cration": EMPTY,
    "test_invalid_shared_memory_creation": EMPTY,
    "test_shared_memory_name_with_embedded_null": "writes to the private name of a block",
    "test_shared_memory_SharedMemoryServer_ignores_sigint": "sends a signal to the manager's process: there is none",
    "test_shared_memory_SharedMemoryManager_reuses_resource_tracker": OTHER_PROCESS,
    "test_shared_memory_cleaned_after_process_termination": OTHER_PROCESS,
    "test_shared_memory_tracking": OTHER_PROCESS,
    "test_shared_memory_untracking": OTHER_PROCESS,
}

CHOSEN = [
    name for name in unittest.defaultTestLoader.getTestCaseNames(cpython._TestSharedMemory) if name not in LEFT_OUT
]


@pytest.mark.parametrize("name", CHOSEN)
def test_cpython(name):
    case = type("Case", (cpython._TestSharedMemory, cpython.ProcessesMixin, unittest.TestCase), {})(name)
    result = unittest.TestResult()
    managers = cpython.multiprocessing.managers
    with (
        mock.patch.object(cpython, "shared_memory", OURS),
        mock.patch.object(managers, "SharedMemoryManager", SharedMemoryManager),
    ):
        case.run(result)
    for _, traceback in [*result.failures, *result.errors]:
        pytest.fail(traceback)
    assert result.testsRun == 1
    assert not result.skipped


def test_some_are_chosen_of_each_kind():
    assert {
        "test_shared_memory_across_processes",
        "test_shared_memory_pickle_unpickle",
        "test_shared_memory_SharedMemoryManager_basics",
        "test_shared_memory_ShareableList_basics",
        "test_shared_memory_ShareableList_pickling",
    } <= set(CHOSEN)
