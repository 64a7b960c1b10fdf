"""What a run may hold."""

import pytest

import pardata
from pardata.memory import budget


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (8_000_000, "8.0 MB"), (2.5e9, "2.5 GB"), (7e15, "7000.0 TB")],
)
def test_bytes_are_shown_with_a_unit(nbytes, text):
    assert budget.format_bytes(nbytes) == text


def spans(*sizes):
    """The words of spans with so many bytes in use."""
    headers = [memoryview(bytearray(512)).cast("q") for _ in sizes]
    for header, size in zip(headers, sizes, strict=True):
        header[budget.LIVE], header[budget.CONTROL] = size, 1000
    return headers


def test_refusal_names_each_maker_once_and_what_fits_never():
    limited = budget.Budget(20_000_000, spans(8_000_000, 1_000, 4_000_000), ["the workers", "source", "the workers"])
    with pytest.raises(pardata.CapacityError, match=r"made by: the workers 12.0 MB, source 1.0 kB; .* keep fewer"):
        limited.check(9_000_000, "a task")
    limited.check(7_000_000, "a task")
    with pytest.raises(pardata.CapacityError, match=r"30.0 MB .* at once, more than the limit of 20.0 MB .* raise"):
        limited.check(30_000_000, "a task")
