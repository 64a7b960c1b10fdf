"""The messages between home and an island. Plain data, of which `cluster.wire` makes frames. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pardata.pipeline.replica import Replica
from pardata.runtime.events import ItemSkipped, Spoken
from pardata.runtime.faults import Fault
from pardata.runtime.progress import StageStatistics


class IslandCode(NamedTuple):
    """The plan that an island runs, sent once to each node; `seed`: of the run's random numbers."""

    replica: Replica
    outlets: int
    seed: int


class Message(NamedTuple):
    """A batch on its way to an island (see `codec.batch_codec.Batch`); `size` is its `count`."""

    number: int
    size: int
    positions: Sequence[int] | None
    items: list[Any]


class News(NamedTuple):
    """The news of an island beside its answers.

    Attributes
    ----------
    skipped : list of ItemSkipped
        Since the last time.
    stages : list of StageStatistics, or None
        The counts of its stages until now; None: there was no time to count.
    said : list of events
        What its workers have printed, warned of and logged since the last time.
    """

    skipped: list[ItemSkipped]
    stages: list[StageStatistics] | None
    said: list[Spoken]


class Result(NamedTuple):
    """The answer to a message.

    Attributes
    ----------
    outlets : list of (positions, items)
        For each outlet what has become of the items.
    failures : list of (place, Fault)
        Of items that end the run, where a stage behind wants them.
    """

    outlets: Sequence[tuple[Sequence[int] | None, list[Any]]]
    failures: list[tuple[int, Fault]]
    news: News


class Broken(NamedTuple):
    """The answer of an island whose run has failed, and takes no more: its error (see `runtime.carried_errors`)."""

    error: bytes


Answer = Result | Broken | News  # the last one to `cluster.port.FINISH`
