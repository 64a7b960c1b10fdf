"""An iterator is the source of one run: of the first that reads it."""

from dataclasses import dataclass

import pytest

import pardata


@dataclass
class Equal:
    """An iterator that equals others, and cannot be hashed."""

    left: int = 2

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


def items_of(stream, engine="serial"):
    return list(stream.iterate(engine=engine))


def test_a_run_that_was_refused_has_used_nothing_up():
    stream = pardata.source(Equal())
    with pytest.raises(pardata.ConfigError, match="engine must be"):
        items_of(stream, engine="serail")
    assert items_of(stream) == [1, 0]
    with pytest.raises(pardata.ConfigError, match="an earlier run has read"):
        items_of(stream)


def test_iterators_are_told_apart_though_they_are_equal():
    one, other = Equal(), Equal()
    assert one == other
    assert items_of(pardata.source(one)) == items_of(pardata.source(other)) == [1, 0]
    with pytest.raises(pardata.ConfigError, match="an earlier run has read"):
        items_of(pardata.source(one))
