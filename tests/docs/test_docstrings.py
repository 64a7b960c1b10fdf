"""The examples in the docstrings of the package run, and print what they say."""

import doctest
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import pardata

ROOT = Path(pardata.__file__).parents[1]
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted(ROOT.glob("pardata/**/*.py"))
    if ">>> " in path.read_text()
]


class Finder(doctest.DocTestFinder):
    """Finds the examples of methods where their code is: they are named as if another class had them."""

    def _from_module(self, module, found):
        if inspect.isfunction(found):
            return found.__globals__ is vars(module)
        return super()._from_module(module, found)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    if name == "pardata.torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)  # where the examples write their files
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for examples in Finder().find(importlib.import_module(name), name, extraglobs={"pardata": pardata, "np": np}):
        runner.run(examples)
    assert runner.tries and not runner.failures
