"""Pairing of batches against a naive model: items are paired by number, and only where each batch has one."""

from hypothesis import given
from hypothesis import strategies as st

from pardata.codec.batch_codec import Batch
from pardata.pipeline.programs.joining import zip_batches


@st.composite
def batches(draw):
    """Batches of the same numbers, each with some of the items."""
    number, count = draw(st.integers(0, 1000)), draw(st.integers(1, 12))
    made = []
    for index in range(draw(st.integers(1, 4))):
        there = draw(st.none() | st.sets(st.integers(0, count - 1)))
        places = range(count) if there is None else sorted(there)
        made.append(
            Batch(2, number, count, 3, [(index, place) for place in places], None if there is None else list(places))
        )
    return made


def as_dict(batch):
    return {batch.item_number(index): item for index, item in enumerate(batch.items)}


@given(batches())
def test_items_are_paired_by_their_numbers(given_):
    tables = [as_dict(batch) for batch in given_]
    common = set.intersection(*map(set, tables))
    expected = {number: tuple(table[number] for table in tables) for number in sorted(common)}
    if len(given_) == 1:
        expected = tables[0]
    zipped = zip_batches(given_)
    assert as_dict(zipped) == expected
    assert list(as_dict(zipped)) == sorted(expected)
    assert (zipped.sequence, zipped.number, zipped.count, zipped.cell) == (2, given_[0].number, given_[0].count, 3)
    assert zipped.positions is None or len(zipped.positions) == len(zipped.items)
