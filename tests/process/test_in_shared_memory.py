"""`pardata.in_shared_memory`: the arrays that NumPy makes in it, where they can be born in blocks and where not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pardata
from pardata.errors import CapacityError
from pardata.memory.born import nursery

ROOT = Path(__file__).parents[2]
CHECKS = ROOT / "tests/process/shared_memory_checks.py"


@pytest.mark.parametrize("born", ["1", "0"])
def test_checks(born):
    command = [sys.executable, "-W", "ignore::DeprecationWarning", str(CHECKS)]  # of forks with threads
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PARDATA_BORN": born}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    outcomes = json.loads(run.stdout.splitlines()[-1])
    assert len(outcomes) > 8 and [name for name, is_right in outcomes.items() if not is_right] == []


def test_where_there_can_be_no_shared_memory_it_is_ordinary_memory(monkeypatch):
    def refuse():
        raise CapacityError("files are limited (`ulimit -f`)")

    monkeypatch.setattr(nursery, "shared_heap", refuse)
    monkeypatch.setattr(nursery, "_has_failed", False)
    monkeypatch.setattr(nursery, "_nursery", None)
    for _ in range(2):
        with pardata.in_shared_memory():
            assert np.ones(20_000).sum() == 20_000
