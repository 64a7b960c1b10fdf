"""Functions and classes as they travel, with what a worker needs before it loads them.

In front stands where modules are (`modules.own.Reach`). Attributes of modules that may differ from the worker's own
come next, in the same pickle as the function, so that objects which both have are one.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from pardata.codec.by_value import marked
from pardata.codec.main_globals import Captured, script
from pardata.codec.object_codec import BlockSink, Encoded, decode_state, pickled, private_bytes, with_blocks
from pardata.codec.picklers import StatePickler
from pardata.memory.array import Anchor
from pardata.memory.private_view import private_copy
from pardata.memory.segment import Segment
from pardata.modules.finder import follow, replace_other
from pardata.modules.look import look
from pardata.modules.own import reach
from pardata.modules.plain import is_plain
from pardata.modules.reads import Attribute, Reads
from pardata.modules.source import Version, stamp_of

_LENGTH: Final = 4  # bytes of a length


def encode_code(obj: Any, sink: BlockSink, is_shared: bool = False) -> Encoded:
    """Encode functions and classes by value where they cannot be imported; captured arrays leave as blocks.

    Large arrays are the worker's own unless they are frozen; none of them is if `is_shared`.
    """
    reads = look(obj)
    before = _Before(reads) if reads.sent or reads.kept or reads.modules or reads.sources else None
    stream, pickler = pickled(StatePickler, (before, obj), True)
    private = [False] * len(pickler.arrays) if is_shared else pickler.private(obj)
    made = with_blocks(stream, pickler, private, sink)
    made.payload = b"".join((len(reach.places).to_bytes(_LENGTH, "little"), reach.places, made.payload))
    return made


def decode_code(payload: Any, anchors: Sequence[Anchor], segment: Segment | None = None) -> Any:
    """Return what `encode_code` has encoded; a worker enters its surroundings first.

    Large arrays that are its own are private views of the blocks in `segment`; copies if it is not given.
    """
    start = _start(payload)
    if script() is not None:
        follow(bytes(payload[_LENGTH:start]))
    _, obj = decode_state(payload[start:], anchors, partial(private_copy, segment))
    return obj


def own_bytes(payload: Any) -> int:
    """Return the bytes of the large arrays that are the own state of what is decoded, once more for each time."""
    return private_bytes(payload[_start(payload) :])


def _start(payload: Any) -> int:
    return _LENGTH + int.from_bytes(payload[:_LENGTH], "little")


class _Before:
    """The attributes that a function reads and assigns; in its pickle they come before it."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    def __reduce__(self) -> tuple[Any, ...]:
        reads = self._reads
        kept = sorted(reads.kept)
        versions = {name: source.version for name, (source, is_edited) in reads.sources.items() if not is_edited}
        return _enter, (kept, reads.modules, versions), (_captured(reads), os.getpid()), None, None, _set_attributes


def _captured(reads: Reads) -> Captured:
    """Return the attributes that workers may have another value of, with their marks."""
    found: Captured = {}
    for name, value in reads.sent.items():
        entry = reads.marks.get(name)
        if entry is None:
            entry = marked(value)
            if is_plain(value):  # the reads are others as soon as it is changed
                reads.marks[name] = entry
        found[name] = entry
    return found


class _Entered:
    """Stands for a `_Before` that has been unpickled."""


def _enter(kept: list[Attribute], modules: list[Any], versions: dict[str, Version]) -> _Entered:
    """Note in a worker which attributes are its own. `modules`, which go by value, are there by now.

    Parameters
    ----------
    versions : dict
        By module: the version of its file that the sender has imported.
    """
    known = script()
    if known is not None:
        known.keep(kept)
        for name, (file, stamp) in versions.items():
            replace_other(name, file)
            if name not in sys.modules and stamp_of(file) != stamp:
                warnings.warn(
                    f"the module {name!r} was edited since the calling process has imported it, and this worker, which "
                    "has begun later, runs what it is now: reload it there",
                    RuntimeWarning,
                    stacklevel=2,
                )
    return _Entered()


def _set_attributes(_: _Entered, state: tuple[Captured, int]) -> None:
    """Set attributes of modules to the values that the sender has."""
    known = script()
    if known is not None:
        captured, sender = state
        known.receive(sender, captured)
