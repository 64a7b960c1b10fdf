"""Pairing of batches by the numbers of their items."""

from pardata.codec.batch_codec import Batch
from pardata.pipeline.programs.joining import zip_batches


def batch(items, positions=None, count=4):
    return Batch(3, 100, count, 7, list(items), positions)


def test_complete_batches_are_paired_item_by_item():
    zipped = zip_batches([batch("abcd"), batch([1, 2, 3, 4]), batch("wxyz")])
    assert zipped.items == [("a", 1, "w"), ("b", 2, "x"), ("c", 3, "y"), ("d", 4, "z")]
    assert zipped.positions is None
    assert (zipped.sequence, zipped.number, zipped.count, zipped.cell) == (3, 100, 4, 7)


def test_single_batch_stays_as_it_is():
    single = batch("ab", [1, 2])
    assert zip_batches([single]) is single


def test_item_that_is_missing_in_one_batch_is_missing_in_the_pairs():
    zipped = zip_batches([batch("ac", [0, 2]), batch([1, 2, 3, 4]), batch("xyz", [1, 2, 3])])
    assert zipped.items == [("c", 3, "y")]
    assert zipped.positions == [2]
    assert zipped.item_number(0) == 102


def test_batch_of_which_nothing_is_left_pairs_to_nothing():
    zipped = zip_batches([batch([], []), batch("abcd")])
    assert (zipped.items, zipped.positions, zipped.count) == ([], [], 4)


def test_positions_of_all_items_pair_like_none():
    zipped = zip_batches([batch("abcd", [0, 1, 2, 3]), batch([1, 2, 3, 4])])
    assert zipped.items == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_items_that_are_equal_or_none_are_items():
    zipped = zip_batches([batch([None, None], [1, 3]), batch([0, 0, 0, 0])])
    assert zipped.items == [(None, 0), (None, 0)]
    assert zipped.positions == [1, 3]
