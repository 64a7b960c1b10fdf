"""Streams of tables in files, and of what is read in order.

      source: numbers of groups ---> read: workers=, each opens the files ---> tables

The source of a table hands out places, and processes read the groups of rows that lie there. A group is read once, also
where the items have fewer rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pardata.data.file_items import FileItems
from pardata.data.file_table import FileTable
from pardata.errors import ConfigError
from pardata.pipeline.builtin_generators import FlatMap, Flattened, ListOf
from pardata.pipeline.file_sources import PartSize
from pardata.pipeline.new_stage import checked_count, new_stage
from pardata.pipeline.plan.node import Kind, Node, user_line
from pardata.pipeline.stream import Stream


@dataclass(frozen=True)
class CutGroup:
    """Reads a group of rows, and cuts it into tables of so many rows; the last may be shorter."""

    table: FileTable
    by: int

    def __call__(self, group: int) -> Iterator[Any]:
        """Yield the tables."""
        found = self.table.read(group)
        for begin in range(0, self.table.group_rows[group], self.by):
            yield found.slice(begin, self.by)


def table_source(table: FileTable, by: PartSize, axis: int, workers: int, name: str | None) -> Stream:
    """Return the stream of a table's groups of rows, or of tables of `by` rows (see `sources.source`)."""
    if axis:
        raise ConfigError(f"source({table.location}, axis={axis}): a table is taken apart along its rows")
    checked_count("source", "workers", workers)
    name = name or "read"
    places = Stream(Node(Kind.SOURCE, "groups", range(len(table.group_rows)), where=user_line()))
    if by is None or by == "chunk":
        return places.map(table.read, workers=workers, name=name)
    cut = CutGroup(table, checked_count("source", "by", by))
    total = sum(-(-rows // cut.by) for rows in table.group_rows)
    if workers == 1:
        return Stream(new_stage(places._node, Kind.GENERATOR, FlatMap(cut, total), name))
    blocks = places.map(ListOf(cut), workers=workers, name=name)
    return Stream(new_stage(blocks._node, Kind.GENERATOR, Flattened(total), "unbatch", workplace="thread"))


def items_source(items: FileItems, by: PartSize, axis: int, workers: int, name: str | None) -> Stream:
    """Return the stream of what one process reads in order."""
    if by is not None or axis or workers != 1:
        raise ConfigError(
            f"source({items.location}, by=..., axis=..., workers=...): it can only be read in order, as "
            f"{items.reason}, by one process and as it comes: give none of these"
        )
    return Stream(Node(Kind.SOURCE, name or items.name, items, where=user_line()))
