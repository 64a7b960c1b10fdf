"""What a worker sets for numerical libraries."""

import ctypes
import os

import pytest

from pardata.runtime.limits import THREAD_VARIABLES, keep_freed_memory, limit_threads, usable_cores


def test_at_least_one_core_is_usable_and_no_more_than_the_process_may_run_on():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_threads_are_limited_where_the_user_has_not_said_otherwise(monkeypatch):
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "7")
    given = {"OMP_NUM_THREADS": "7", "NUMBA_NUM_THREADS": "7"}
    limit_threads(3, given)
    assert {os.environ[variable] for variable in given} == {"7"}
    assert {os.environ[variable] for variable in THREAD_VARIABLES if variable not in given} == {"3"}


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
    class Library:
        told = []  # noqa: RUF012

        def __init__(self, name):
            self.mallopt = lambda *what: self.told.append(what)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    keep_freed_memory(given)
    assert len(Library.told) == calls
