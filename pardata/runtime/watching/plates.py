"""The name plates of workers, in the last words of the headers of their spans: what a process that looks on must know.

The parent writes a plate once, before the worker starts. The span goes back with zeros, and so does the plate. If all
processes of a run are killed, the kernel frees the segment with all plates: nothing has to be removed, ever.

    words    KIND  HOME  PID  BEGUN_NS  LIMIT_BYTES  PLACE  length of the name, then the name in UTF-8
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from pardata.memory.arena import HEADER_BYTES
from pardata.memory.segment import Segment
from pardata.runtime.header import MOST_SEQUENCES, NEXT_NUMBER
from pardata.runtime.wiring import WorkerImage

PLATE_AT: Final = 8 * (NEXT_NUMBER + MOST_SEQUENCES)  # bytes from the beginning of a header
RUN, POOL, WORKER = 1, 2, 3  # kinds: the main process's own end of a run or a pool, and a worker of one

_WORDS: Final = struct.Struct("7q")
_NAME_AT: Final = PLATE_AT + _WORDS.size
_LONGEST: Final = HEADER_BYTES - _NAME_AT


class Plate(NamedTuple):
    """The contents of a plate: whose a span is.

    Attributes
    ----------
    home : int
        Where the span of the main process's own end begins: the same for all workers of a run or a pool.
    pid, begun_ns, limit_bytes : int
        Of the main process's own end: its process, when it began (time.monotonic_ns), and the limit of memory.
    place : int
        Of a worker: which stage of the plan it belongs to.
    name : str
        Of a worker: its stage. Of a pool: its name.
    """

    kind: int
    home: int
    pid: int
    begun_ns: int
    limit_bytes: int
    place: int
    name: str


def hang_plates(
    segment: Segment, home: WorkerImage, kind: int, name: str, limit_bytes: int, stages: Iterable[list[WorkerImage]]
) -> None:
    """Write the plates of a run or a pool: of the main process's own end, and of the workers of each stage."""
    at, begun_ns, limit_bytes = home.span.offset, time.monotonic_ns(), min(limit_bytes, sys.maxsize)
    for place, workers in enumerate(stages):
        for worker in workers:
            if worker is not home:
                _write(segment, worker.span.offset, Plate(WORKER, at, 0, 0, 0, place, worker.stage))
    _write(segment, at, Plate(kind, at, os.getpid(), begun_ns, limit_bytes, 0, name))  # last: then all are there


def _write(segment: Segment, span_at: int, plate: Plate) -> None:
    name = plate.name.encode("utf-8", "replace")[:_LONGEST]
    _WORDS.pack_into(segment.map, span_at + PLATE_AT, *plate[:-1], len(name))
    segment.map[span_at + _NAME_AT : span_at + _NAME_AT + len(name)] = name


def read_plate(header: bytes) -> Plate | None:
    """Return the plate in a copy of a header; None if there is none."""
    kind, home, pid, begun_ns, limit_bytes, place, length = _WORDS.unpack_from(header, PLATE_AT)
    if kind not in (RUN, POOL, WORKER) or not 0 <= length <= _LONGEST:
        return None
    name = header[_NAME_AT : _NAME_AT + length].decode("utf-8", "ignore")
    return Plate(kind, home, pid, begun_ns, limit_bytes, place, name)
