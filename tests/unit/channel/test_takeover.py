"""A successor decides from the words alone: each state of them has one step, and each row of the table decides some."""

from itertools import product

import pytest

from pardata.channel.leases import OWN
from pardata.channel.takeover import (
    FINDINGS,
    BatchWords,
    CellWords,
    PledgeWords,
    RowWords,
    SlotWords,
    StateWords,
    Step,
    decide,
)

STAMPS, BOOLS, BATCHES = range(4), (False, True), list(product(range(2), repeat=2))


def step_of_slot(words):
    return Step.FREE_SLOT if words.done == words.stamp else Step.KEEP_SLOT


def step_of_pledge(words):
    if words.pledged <= words.last_stamp:
        return Step.KEEP_PLEDGE
    return Step.PUBLISH if words.leaders_last_stamp >= words.leader_stamp else Step.FORGET_PLEDGE


def step_of_row(words):
    if words.message > words.last_stamp:
        return Step.RELEASE
    return Step.ADOPT if words.origin == OWN else Step.HOLD


def step_of_batch(words):
    if not (words.is_noted and words.is_unfinished):
        return Step.TAKE_TURN
    if words.is_published:
        return Step.COMMIT
    return Step.FAIL if words.is_inplace else Step.AGAIN


def step_of_state(words):
    return Step.DROP_ITEMS if words.saved == words.first else Step.TAKE_ITEMS


def step_of_cell(words):
    is_held = words.holder - 1 == words.number and not words.is_free
    return Step.KEEP_CELL if is_held else Step.LEAVE_CELL


STATES = [
    (SlotWords, product(STAMPS, STAMPS), step_of_slot),
    (PledgeWords, product(STAMPS, repeat=4), step_of_pledge),
    (RowWords, product(STAMPS, STAMPS, (OWN, 0, 1)), step_of_row),
    (BatchWords, product(BOOLS, repeat=4), step_of_batch),
    (StateWords, product([(-1, -1), *BATCHES], BATCHES), step_of_state),
    (CellWords, product(STAMPS, STAMPS, BOOLS), step_of_cell),
]


@pytest.mark.parametrize(("kind", "states", "step_of"), STATES, ids=lambda value: getattr(value, "__name__", None))
def test_every_state_has_its_step_and_every_row_decides_some_state(kind, states, step_of):
    deciding = set()
    for values in states:
        words = kind(*values)
        assert decide(words) is step_of(words), words
        deciding.add(next(row for row, finding in enumerate(FINDINGS[kind]) if finding.holds(words)))
    assert deciding == set(range(len(FINDINGS[kind])))


def test_every_kind_of_words_and_every_step_is_tested():
    assert {kind for kind, _, _ in STATES} == set(FINDINGS)
    assert {finding.step for findings in FINDINGS.values() for finding in findings} == set(Step)


def test_a_channel_that_has_never_pledged_has_nothing_to_redeem():
    """Its words are zeros, and name the first channel as its leader."""
    assert decide(PledgeWords(0, 0, 0, 7)) is Step.KEEP_PLEDGE


def test_a_pledge_of_a_message_that_was_not_published_does_not_go_with_the_next_one():
    """The leader's next message has the stamp of the one that was never published, unless the pledge is forgotten."""
    before = PledgeWords(pledged=3, last_stamp=2, leader_stamp=5, leaders_last_stamp=4)
    assert decide(before) is Step.FORGET_PLEDGE
    assert decide(before._replace(leaders_last_stamp=5)) is Step.PUBLISH
    assert decide(before._replace(leaders_last_stamp=5, pledged=0)) is Step.KEEP_PLEDGE
