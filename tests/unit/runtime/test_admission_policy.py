"""A worker that needs a block takes it, waits, passes the limit or fails, as the table of rules says."""

import re
from dataclasses import replace

import pytest

from pardata.runtime.admission.explanation import explain_refusal
from pardata.runtime.admission.item_sizes import ItemSizes
from pardata.runtime.admission.policy import HOPELESS_S, RULES, STUCK_S, AllocationRequest, Decision, decide

FULL = AllocationRequest(10, 95, 100, is_oldest=False, is_alone=False, still_s=0.0)


CASES = [
    ({"live_bytes": 90}, Decision.TAKE),
    ({}, Decision.WAIT),  # others may let go
    ({"is_oldest": True}, Decision.PASS_LIMIT),  # the others may wait for it
    ({"still_s": STUCK_S}, Decision.PASS_LIMIT),  # so does each for another
    ({"is_oldest": True, "live_bytes": 191}, Decision.WAIT),
    ({"is_oldest": True, "live_bytes": 191, "still_s": HOPELESS_S}, Decision.FAIL),
    ({"is_oldest": True, "is_alone": True}, Decision.WAIT),  # the consumer's loop may let go
    ({"is_oldest": True, "is_alone": True, "still_s": HOPELESS_S}, Decision.FAIL),
    ({"needed_bytes": 101, "live_bytes": 0}, Decision.FAIL),  # it never fits
    ({"needed_bytes": 81, "live_bytes": 20, "control_bytes": 20}, Decision.FAIL),  # nor does this
    # The loop that waits for it has the item before; not more than that one.
    ({"is_alone": True, "still_s": STUCK_S, "item_bytes": 5}, Decision.PASS_LIMIT),
    ({"is_alone": True, "still_s": STUCK_S, "item_bytes": 4}, Decision.WAIT),
    ({"is_alone": True, "still_s": HOPELESS_S, "item_bytes": 4}, Decision.FAIL),
    ({"is_alone": True, "still_s": HOPELESS_S, "item_bytes": 50, "own_bytes": 91}, Decision.FAIL),
    ({"is_alone": True, "is_oldest": True, "item_bytes": 50}, Decision.WAIT),  # others may let go first
    # Small items of one message have become large: each by itself fits.
    ({"is_oldest": True, "is_alone": True, "items": 64, "live_bytes": 500, "own_bytes": 450}, Decision.PASS_LIMIT),
    (
        {"is_oldest": True, "is_alone": True, "items": 64, "own_bytes": 4},
        Decision.WAIT,
    ),  # what others keep is too much
]


@pytest.mark.parametrize(("changes", "decision"), CASES)
def test_decision(changes, decision):
    assert decide(replace(FULL, **changes)) is decision


def test_each_rule_decides_some_case_and_the_last_one_all_that_are_left():
    requests = [replace(FULL, **changes) for changes, _ in CASES]
    deciding = [
        next(rule for rule in RULES if all(holds(request) for holds in rule.conditions)) for request in requests
    ]
    assert set(deciding) == set(RULES)
    assert RULES[-1].conditions == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"needed_bytes": 101}, "more than the limit of 100 B: raise memory_limit="),
        ({"own_bytes": 95}, "do not fit at once: .*chunksize=1"),
        ({}, "95 B of the limit of 100 B are in use .arrays made by: reader 95 B.*copy what you keep"),
        ({"needed_bytes": 81, "control_bytes": 20}, "81 B .* limit of 100 B without the 20 B of tables and channels"),
        ({"own_bytes": 75, "control_bytes": 20}, "do not fit at once"),
    ],
)
def test_the_error_says_which_of_the_three_it_is(changes, words):
    assert re.search(words, explain_refusal(replace(FULL, **changes), "stage 'a'", "arrays made by: reader 95 B"))


def test_the_heaviest_items_are_those_of_the_stage_that_sends_most():
    item_sizes = ItemSizes(2)
    assert item_sizes.heaviest([(10, 80), (4, 4000)]) == 1000


def test_items_that_are_counted_and_not_yet_sent_do_not_hide_the_weight():
    item_sizes = ItemSizes(1)
    assert item_sizes.heaviest([(4, 4000)]) == 1000
    assert item_sizes.heaviest([(8, 4000)]) == 1000  # four more are at work
    assert item_sizes.heaviest([(8, 8000)]) == 1000


def test_what_was_heavy_long_ago_is_forgotten():
    item_sizes = ItemSizes(1)
    counts = [(1, 10**6), (2, 10**6 + 8), (3, 10**6 + 16)]
    assert [item_sizes.heaviest([count]) for count in counts][-1] == 8
