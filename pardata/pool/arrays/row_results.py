"""The results of a map whose items are the rows of arrays, taken one by one by the method that has begun it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pardata.errors import WorkerLostError
from pardata.pool.results import Results, taking

RowSpan = tuple[int, int]


def take_all(made: Results, spans: Sequence[RowSpan], take: Callable[[RowSpan, Any], None]) -> None:
    """Call `take` with the rows of each item and its result, in their order; Ctrl-C also there ends the map's calls."""
    with taking(made), naming_rows(spans):
        for span, value in zip(spans, made, strict=True):
            take(span, value)
            del value


@contextmanager
def naming_rows(spans: Sequence[RowSpan]) -> Iterator[None]:
    """Have an error that tells which items have cost workers tell their rows."""
    try:
        yield
    except WorkerLostError as error:
        if error.items:
            error.items = range(spans[error.items[0]][0], spans[error.items[-1]][1])
        raise
