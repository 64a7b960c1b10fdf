"""The examples in the docstrings of streams run, and print what they say."""

import doctest

import pytest

from pardata.pipeline import runnable, stream


@pytest.mark.parametrize("module", [stream, runnable], ids=lambda module: module.__name__)
def test_examples_of_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
