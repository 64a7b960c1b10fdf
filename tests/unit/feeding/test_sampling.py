"""The order of items: by seed and epoch alone, each once, in batches."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pardata
from pardata.feeding.sampling import Sampling, check_sampling
from pardata.feeding.seeds import BATCH, ITEM, words_of


@given(st.integers(0, 40), st.integers(1, 9), st.booleans(), st.booleans(), st.integers(0, 3))
def test_each_item_comes_once(count, size, shuffle, drop_last, epoch):
    sampling = Sampling(count, size, shuffle, drop_last)
    lists = list(sampling.lists(7, epoch))
    assert len(lists) == len(sampling)
    assert {len(keys) for keys in lists[:-1]} <= {size}
    keys = [key for keys in lists for key in keys]
    assert len(keys) == (count // size * size if drop_last else count) == len(set(keys))
    assert shuffle or keys == list(range(len(keys)))
    assert lists == list(sampling.lists(7, epoch))


def test_epochs_and_seeds_have_orders_of_their_own():
    sampling = Sampling(50, 50, shuffle=True)
    orders = [next(sampling.lists(seed, epoch)) for seed in range(3) for epoch in range(3)]
    assert len(set(map(tuple, orders))) == 9 and {tuple(sorted(order)) for order in orders} == {tuple(range(50))}


def test_samplers_give_the_keys():
    assert list(Sampling(None, 2, sampler=["a", "b", "c"]).lists(0, 0)) == [["a", "b"], ["c"]]
    assert list(Sampling(None, 2, sampler=["a", "b", "c"], drop_last=True).lists(0, 0)) == [["a", "b"]]
    assert list(Sampling(None, 1, batch_sampler=[(1, 2), (3,)]).lists(0, 0)) == [[1, 2], [3]]
    assert len(Sampling(None, 2, sampler=["a", "b", "c"])) == 2 and len(Sampling(None, 1, batch_sampler=[[1]])) == 1


class Restarting:
    """Its own iterator, which begins anew when it is asked for an iterator, and after its end."""

    def __init__(self, count):
        self.count = count
        self.number = 0

    def __iter__(self):
        self.number = 0
        return self

    def __next__(self):
        self.number += 1
        if self.number > self.count:
            self.number = 0
            raise StopIteration
        return self.number


@pytest.mark.parametrize("count", [4, 5])
def test_a_sampler_that_is_its_own_iterator_is_read_once_in_each_epoch(count):
    sampling = Sampling(None, 2, sampler=Restarting(count))
    keys = [key for keys in islice(sampling.lists(0, 0), 9) for key in keys]
    assert keys == list(range(1, count + 1))
    assert list(sampling.lists(0, 1)) == list(sampling.lists(0, 0))


@pytest.mark.parametrize("name", ["sampler", "batch_sampler"])
def test_a_sampler_that_was_read_to_its_end_is_refused(name):
    sampling = Sampling(None, 1, **{name: (key for key in [[1], [2]])})
    assert len(list(sampling.lists(0, 0))) == 2
    with pytest.raises(pardata.ConfigError, match=f"the {name} is a generator, which can be read only once"):
        list(sampling.lists(0, 1))
    assert list(Sampling(None, 1, **{name: []}).lists(0, 0)) == []


def test_purposes_draw_other_numbers():
    assert len({tuple(words_of(1, purpose, *at)) for purpose in (BATCH, ITEM) for at in [(0,), (1,), (0, 1)]}) == 6


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, False, False, None, None), "batch_size must be an int of at least 1"),
        ((True, False, False, None, None), "batch_size must be an int of at least 1"),
        ((2, True, False, [1], None), "leave out shuffle"),
        ((2, False, False, None, [[1]]), "leave out batch_size"),
        ((None, False, True, None, None), "drop_last is about batches"),
    ],
)
def test_arguments_that_do_not_go_together(arguments, match):
    with pytest.raises(pardata.ConfigError, match=match):
        check_sampling(*arguments)
