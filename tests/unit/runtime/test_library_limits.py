"""The limits that a worker sets for numerical libraries."""

import os
import subprocess
import sys
import types

import pytest

from pardata.runtime import library_limits
from pardata.runtime.library_limits import keep_freed_memory, usable_cores


def test_at_least_one_core_is_usable_and_no_more_than_the_process_may_run_on():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (1.5, 2), (0.1, 1), (2.0, 2), (2.01, 3), (7.5, 8), (100.0, 8)])
def test_a_part_of_a_core_counts_as_one(monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(library_limits, "quota_cores", lambda groups: quota)
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    assert usable_cores() == cores


SHOW_CORES = "from pardata.runtime.library_limits import usable_cores; print(usable_cores())"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python counts by itself before 3.13")
@pytest.mark.parametrize(
    ("options", "environment", "cores"),
    [
        ((), {"PYTHON_CPU_COUNT": "37"}, 37),
        (("-X", "cpu_count=38"), {"PYTHON_CPU_COUNT": "37"}, 38),
        (("-X", "cpu_count=default"), {"PYTHON_CPU_COUNT": "37"}, None),
        (("-E",), {"PYTHON_CPU_COUNT": "37"}, None),
        ((), {"PYTHON_CPU_COUNT": "default"}, None),
    ],
)
def test_the_cores_that_python_was_told_to_see_count(options, environment, cores):
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    code = f"import sys; sys.path[:] = {sys.path!r}; {SHOW_CORES}"
    shown = subprocess.check_output([sys.executable, *options, "-c", code], env={**os.environ, **path, **environment})
    assert int(shown) == (usable_cores() if cores is None else cores)


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ({}, 2),
        ({"PARDATA_KEEP_FREED_MEMORY": "1"}, 2),
        ({"PARDATA_KEEP_FREED_MEMORY": "0"}, 0),
        ({"MALLOC_TRIM_THRESHOLD_": "65536"}, 0),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096"}, 0),
    ],
)
def test_the_allocator_is_left_alone_where_the_user_says_so(monkeypatch, given, calls):
    told = []
    library = types.SimpleNamespace(mallopt=lambda *what: told.append(what))
    monkeypatch.setattr(library_limits, "libc", lambda: library)
    keep_freed_memory(given)
    assert len(told) == calls
