"""The examples in the docstrings of shared memory and of the errors run as they stand."""

import doctest
import importlib

import pytest

import pardata

MODULES = [
    "pardata.errors",
    "pardata.memory.named.block",
    "pardata.memory.named.inspector",
    "pardata.memory.named.manager",
    "pardata.memory.named.shareable_list",
    "pardata.memory.shared_array",
    "pardata.memory.shared_heap",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    own = [test for test in finder.find(module, extraglobs={"pardata": pardata}) if test.filename == module.__file__]
    assert own
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for test in own:
        runner.run(test)
    assert runner.failures == 0
