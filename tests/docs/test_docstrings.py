"""The examples in the docstrings of streams run, and print what they say."""

import doctest

import pytest

from pardata.pipeline import joins, run, runnable, sources, stream


@pytest.mark.parametrize("module", [stream, runnable, run, sources, joins], ids=lambda module: module.__name__)
def test_examples_of_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried
    assert not failed
