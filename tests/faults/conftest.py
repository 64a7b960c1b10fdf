"""Fixtures of the tests of checkpoints."""

import itertools

import pytest


@pytest.fixture
def make_folder(tmp_path):
    """Return a function that makes a new folder at each call, and returns its path."""
    numbers = itertools.count()

    def make():
        made = tmp_path / str(next(numbers))
        made.mkdir()
        return str(made)

    return make
