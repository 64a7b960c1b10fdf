"""What a run may hold."""

import pytest

from pardata.memory import budget


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (8_000_000, "8.0 MB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")],
)
def test_bytes_are_shown_with_a_unit(nbytes, text):
    assert budget.format_bytes(nbytes) == text
