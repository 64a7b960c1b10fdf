"""A module whose top level starts workers, which import the module."""

import subprocess
import sys

import pytest

HANG_S = 120


UNGUARDED = """
import pardata

def double(x):
    return 2 * x

{}
"""


@pytest.mark.parametrize(
    "start",
    [
        "print(list(pardata.source([1, 2]).map(double).iterate()))",
        "with pardata.WorkerPool(1) as pool: print(list(pool.map(double, [1, 2])))",
    ],
)
def test_a_module_that_starts_workers_when_it_is_imported_is_not_run_by_them_without_end(tmp_path, start):
    (tmp_path / "unguarded.py").write_text(UNGUARDED.format(start))
    done = subprocess.run(
        [sys.executable, "-c", "import unguarded"], cwd=tmp_path, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 1
    assert "the module 'unguarded' starts a run or a pool when it is imported, and a worker imports it" in done.stderr
