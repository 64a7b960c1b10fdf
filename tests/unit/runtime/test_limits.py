"""What a worker sets for numerical libraries."""

import os

from pardata.runtime.limits import THREAD_VARIABLES, limit_threads, usable_cores


def test_at_least_one_core_is_usable_and_no_more_than_the_process_may_run_on():
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_threads_are_limited_where_the_user_has_not_said_otherwise(monkeypatch):
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "7")
    given = {"OMP_NUM_THREADS": "7", "NUMBA_NUM_THREADS": "7"}
    limit_threads(3, given)
    assert {os.environ[variable] for variable in given} == {"7"}
    assert {os.environ[variable] for variable in THREAD_VARIABLES if variable not in given} == {"3"}
