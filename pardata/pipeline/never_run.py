"""A script that ends without having run a stream that it has made is told so, once.

Only streams that the script itself has made count, not those of modules, and only the last ones: each that has become a
part of another, was looked at or handed elsewhere is in use. A prompt and a notebook show of a stream that it was not
run. A script that ends by `sys.exit` in the middle cannot be told from one that ends so at its end.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import warnings
import weakref
from typing import Final, NamedTuple

from pardata.pipeline.plan.node import Kind, Node

_MOST: Final = 1000  # streams are remembered; a program that has so many of them for later is no script


class _StreamMade(NamedTuple):
    node: weakref.ref[Node]
    name: str
    where: str


_unused: dict[int, _StreamMade] = {}  # by the id of the node
_dropped: list[_StreamMade] = []  # whose id another node has got
_have_run: Final[weakref.WeakSet[Node]] = weakref.WeakSet()
_pid = os.getpid()


def note_made(node: Node) -> None:
    """Note that there is a stream of this node; those that it reads are in use."""
    for given in node.inputs:
        note_used(given)
        for inner in given.inputs if node.kind is Kind.BRANCH else ():  # `given` has the branches, and no stream
            note_used(inner)
    if node.kind is Kind.SOURCE or not _is_of_script() or len(_unused) >= _MOST:
        return
    before = _unused.get(id(node))
    if before is not None and before.node() is not node:
        _dropped.append(before)
    _unused[id(node)] = _StreamMade(weakref.ref(node), node.name, node.where)


def note_used(node: Node) -> None:
    """Note that somebody has a use for the stream of this node."""
    found = _unused.get(id(node))
    if found is not None and found.node() is node:
        del _unused[id(node)]


def note_run(node: Node) -> None:
    """Note that a run of the stream begins."""
    note_used(node)
    _have_run.add(node)


def has_run(node: Node) -> bool:
    """Return whether a run of the stream has begun in this process."""
    return node in _have_run


def _is_of_script() -> bool:
    package = __name__.split(".", 1)[0]
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".", 1)[0] == package:
        frame = frame.f_back
    found = frame.f_globals
    return found.get("__name__") == "__main__" and "__file__" in found and not hasattr(sys, "ps1")


@atexit.register
def _tell() -> None:
    """Warn of the first stream that was never run, unless the script ends for another reason, or is no script."""
    lost = [*_dropped, *_unused.values()]
    is_failing = getattr(sys, "last_exc", None) is not None or getattr(sys, "last_value", None) is not None
    is_child = os.getpid() != _pid or multiprocessing.parent_process() is not None
    if not lost or is_failing or is_child or sys.flags.interactive:
        return
    more = f", nor {len(lost) - 1} more" if len(lost) > 1 else ""
    file, line = lost[0].where.rsplit(":", 1)
    told = f"the stream {lost[0].name!r} was never run{more}: call its run(), or take its items with a loop"
    warnings.warn_explicit(told, RuntimeWarning, file, int(line))
