"""The record of a run on processes, read from the memories of its workers."""

from __future__ import annotations

from pardata.engines.processes.layout import Layout
from pardata.memory.segment import Segment
from pardata.runtime.header import INCARNATION
from pardata.runtime.recording.record import WorkerRecord
from pardata.runtime.recording.recorder import read


class Recording:
    """The memories in which the workers of a run record; they can be read until the run is torn down.

    Attributes
    ----------
    limit_bytes : int
        Of the shared memory that the run may have.
    base_bytes : int
        In use in the main process before the run.
    """

    def __init__(self, layout: Layout, segment: Segment, limit_bytes: int, base_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.base_bytes = base_bytes
        self._places = [
            (stage, image, memoryview(segment.map)[record[0] : sum(record)], image.span.words(segment))
            for stage, images in layout.workers_of.items()
            for image in images
            if (record := image.areas.record) is not None
        ]

    @property
    def is_on(self) -> bool:
        """Return whether workers record."""
        return bool(self._places)

    def workers(self) -> list[WorkerRecord]:
        """Return what the workers have recorded until now: those that have begun."""
        return [
            WorkerRecord(stage.name, image.index, read(memory), image.in_parent, stage.node.lanes)
            for stage, image, memory, words in self._places
            if words[INCARNATION]
        ]

    def close(self) -> None:
        """Let go of the memories: they are given back."""
        self._places.clear()
