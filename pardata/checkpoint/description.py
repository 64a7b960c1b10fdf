"""The contents of a checkpoint in words, as ``python -m pardata checkpoint folder`` prints them."""

from __future__ import annotations

import contextlib
import os
import textwrap
import time
from collections.abc import Iterator
from typing import Any, Final

from pardata.checkpoint.done import DoneRanges
from pardata.checkpoint.folder import newest_state, plan_of
from pardata.checkpoint.results import records
from pardata.memory.budget import format_bytes

_COLUMNS: Final = 100


def described(path: str) -> str:
    """Return a few lines about the checkpoint in a folder. Locks and changes nothing."""
    plan = plan_of(path) if os.path.isdir(path) else None
    if plan is None:
        return f"{path}: there is no checkpoint"
    found = list(_statuses(path))
    nbytes = sum(status.st_size for status in found)
    newest = max(status.st_mtime for status in found)
    written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(newest))
    lines = [
        f"{path}: checkpoint of {plan['kind']}, {format_bytes(nbytes)}, last written {written}",
        _in_lines("belongs to: ", [name for name, _ in plan["parts"]]),
        _progress(path, plan["kind"], newest_state(path)[1]),
    ]
    return "\n".join(lines)


def _in_lines(begin: str, names: list[str]) -> str:
    """Return names in lines, none of which ends within a name."""
    text = begin + ", ".join(name.replace(" ", "\0") for name in names)
    lines = textwrap.wrap(text, _COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _statuses(path: str) -> Iterator[os.stat_result]:
    """Yield the status of each file; a job that is at work removes some meanwhile."""
    for name in os.listdir(path):
        with contextlib.suppress(FileNotFoundError):
            yield os.stat(os.path.join(path, name))


def _progress(path: str, kind: str, state: Any) -> str:
    if kind == "map":
        return _results(os.path.join(path, "results"))
    if state is None:
        return "nothing is done"
    if state.get("finished"):
        return "done"
    if kind == "map_array":
        return f"{DoneRanges(state['done']).count} of {state['rows']} rows are done"
    if "report" in state:
        return "all items are done; the files do not have their names yet"
    if "sources" not in state:
        return "something is done, by an older version"
    if len(state["sources"]) == 1:
        return f"all items below number {state['sources'][0][1]} of the source are done"
    done = ", ".join(f"{number} of {name!r}" for name, number in state["sources"])
    return f"all items below these numbers of the sources are done: {done}"


def _results(path: str) -> str:
    done = DoneRanges()
    if os.path.exists(path):
        with open(path, "rb") as file:
            for *_, ranges in records(file):
                for begin, end in ranges:
                    done.add(begin, end)
    return f"the results of {done.count} items are stored"
