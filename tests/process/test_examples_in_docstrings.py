"""The examples in the docstrings of look-ups and files run, and print what they say."""

import doctest
import importlib

import numpy as np
import pytest

import pardata

WITH_EXAMPLES = [
    *(f"pardata.lookup.{name}" for name in ("base", "client", "database", "service", "serving", "table", "writer")),
    *(f"pardata.files.{name}" for name in ("paged", "paged_writer", "piece_files", "pieces")),
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the examples write their files
    found = doctest.testmod(importlib.import_module(name), extraglobs={"pardata": pardata, "np": np})
    assert found.attempted and not found.failed
