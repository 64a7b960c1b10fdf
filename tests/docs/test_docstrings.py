"""The examples in the docstrings of the package run, and print what they say."""

import doctest
import importlib
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


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run(name, tmp_path, monkeypatch):
    if name == "pardata.torch":
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)  # where the examples write their files
    found = doctest.testmod(
        importlib.import_module(name), extraglobs={"pardata": pardata, "np": np}, optionflags=doctest.ELLIPSIS
    )
    assert found.attempted and not found.failed
