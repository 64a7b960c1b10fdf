"""The rows of the calls of a map over arrays, and errors that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pardata.errors import WorkerLostError

RowSpan = tuple[int, int]


@contextmanager
def naming_rows(spans: Sequence[RowSpan]) -> Iterator[None]:
    """Have an error that tells which items have cost workers tell their rows."""
    try:
        yield
    except WorkerLostError as error:
        if error.items:
            error.items = range(spans[error.items[0]][0], spans[error.items[-1]][1])
        raise
