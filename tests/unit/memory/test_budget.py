"""What a run may hold."""

import pytest

from pardata.memory import budget


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (8_000_000, "8.0 MB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")],
)
def test_bytes_are_shown_with_a_unit(nbytes, text):
    assert budget.format_bytes(nbytes) == text


def test_batches_that_set_out_together_have_room_beside_all_that_a_consumer_keeps():
    words = [0] * 64
    words[budget.LIVE], words[budget.WIDEST] = 80, 1  # a batch takes 2 on its way, and as much is kept as 38 take
    asked = budget.Budget(100, [words], ["stage"])
    assert asked.has_room_on_its_way(2, 10)
    assert not asked.has_room_on_its_way(2, 13)
    assert not asked.has_room_on_its_way(2, 38)
