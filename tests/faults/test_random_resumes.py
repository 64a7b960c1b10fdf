"""A few random kills of everything; `python -m tests.faults.random_resumes` makes more."""

import pytest

from tests.faults.random_resumes import resume


@pytest.mark.parametrize("seed", [1, 5])
def test_killed_at_random_moments_a_run_goes_on(tmp_path, seed):
    resume(seed, str(tmp_path))
