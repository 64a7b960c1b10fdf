"""The folder of a checkpoint: who may use it, what it belongs to, and how far that is.

      checkpoint.lock      of the process that uses the folder; it ends with that process
      workers              shared by the worker processes of a run (`checkpoint.presence`)
      plan                 the fingerprint of the job, written once
      state.0, state.1     how far the job is: the one with the higher number counts, if it is whole
      results              of a map: a log (`checkpoint.results`)
      stage-<n>-<numbers>  of a stream: the state of a stage at a cut, by the numbers of its inputs there

A state is written over the one before the last, then flushed. A power cut within it leaves that one torn, which its
checksum tells, and the last one counts. The rejected alternative, a new file and a rename, needs a second flush, of the
directory, at every cut.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, Final

from pardata.checkpoint.fingerprint import FingerprintPart
from pardata.checkpoint.presence import LOCK, wait_until_alone
from pardata.errors import ConfigError
from pardata.memory.disk import create_new, home_hint, naming, sync, sync_directory, write_all
from pardata.memory.locking import HolderLock

CUT_S: float = 1.0  # between two states; a test makes it 0
COST: Final = 50  # a state is written no sooner than so many times the seconds that the last one took: 2 %

_PYTHON: Final = "{}.{}".format(*sys.version_info)
_MAGIC: Final = b"pardata checkpoint 1"
_HEAD: Final = re.compile(_MAGIC + rb" (\d+) ([0-9a-f]{8}) (\d+)\n")
_STATES: Final = ("state.0", "state.1")
_STORED: Final = re.compile(r"plan|state\.[01]|results|stage(-\d+)+(\.part)?")
_OURS: Final = re.compile(rf"plan\.part|{_STORED.pattern}")
_USED: Final = re.compile(rf"workers|{LOCK}\.lock|{_OURS.pattern}")


def encoded(number: int, value: Any) -> bytes:
    """Return a value with its number and its checksum."""
    data = json.dumps(value).encode()
    return b"%s %d %08x %d\n" % (_MAGIC, number, zlib.crc32(data), len(data)) + data


def decoded(data: bytes) -> tuple[int, Any] | None:
    """Return number and value; None if the bytes are torn, or something else."""
    head = _HEAD.match(data)
    if head is None:
        return None
    body = data[head.end() :][: int(head[3])]
    if len(body) < int(head[3]) or zlib.crc32(body) != int(head[2], 16):
        return None
    return int(head[1]), json.loads(body)


class Folder:
    """The checkpoint of one job, locked by this process.

    Parameters
    ----------
    path : path
        Is made if it does not exist; the folder that it is to be in must be there.
    kind : str
        The call that the checkpoint belongs to.
    parts : sequence of (name, digest)
        The fingerprint of the job.
    is_new : bool
        Forget what is there, and begin again.
    extra : dict
        Stored beside the fingerprint at the begin; `extra` is what was stored then.

    Attributes
    ----------
    state : object, optional
        The last state that is whole; None: there is none.
    token : str
        Stands in the names of files that the job has begun, so that no two checkpoints have one of them.

    Raises
    ------
    ConfigError
        Another process uses the folder; it belongs to another job, or to none; the job has changed.
    OSError
        The disk is full, or cannot be read.
    """

    def __init__(
        self,
        path: Any,
        kind: str,
        parts: Sequence[FingerprintPart],
        is_new: bool = False,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.path = _checked(path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)
        _check_foreign(self.path)
        self._lock = HolderLock(self.file(LOCK), "used")
        try:
            wait_until_alone(self.path)  # SYNC POINT: presence. This process's id stands in the lock file by now
            self.token: str = (plan_of(self.path) or {}).get("token") or secrets.token_hex(4)
            if is_new:
                self.clear()
            self.extra = self._plan(kind, parts, extra or {})
            self._number, self.state = newest_state(self.path)
        except BaseException:
            self.close()
            raise
        self._begin_s = time.monotonic()
        self._free_s = self._begin_s  # from when on another state costs little

    def file(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return os.path.join(self.path, name)

    def begun(self, path: str) -> str:
        """Return the name of a file that is not whole yet."""
        return f"{path}.{self.token}.begun"

    def _plan(self, kind: str, parts: Sequence[FingerprintPart], extra: dict[str, Any]) -> dict[str, Any]:
        known = plan_of(self.path)
        if known is None:
            left = next((name for name in sorted(os.listdir(self.path)) if _STORED.fullmatch(name)), None)
            if left is not None:
                raise ConfigError(
                    f"checkpoint={self.path!r}: the folder holds {left!r} and no whole plan of a checkpoint: "
                    f"restart=True begins again"
                )
            known = {"kind": kind, "parts": list(parts), "extra": extra, "token": self.token, "python": _PYTHON}
            self._write_plan(known)
        elif known["kind"] != kind:
            raise ConfigError(
                f"checkpoint={self.path!r} is that of {known['kind']}, not of {kind}: give another folder, or "
                f"restart=True to begin again"
            )
        else:
            self._compare(known, parts)
        made: dict[str, Any] = known["extra"]
        return made

    def _compare(self, known: dict[str, Any], parts: Sequence[FingerprintPart]) -> None:
        for old, now in zip_longest(known["parts"], parts, fillvalue=("nothing", "")):
            if tuple(old) != tuple(now):
                what = now[0] if old[0] == now[0] else f"{old[0]} (now {now[0]})"
                begun = known.get("python", _PYTHON)
                by = f" by Python {begun} (for {_PYTHON} all functions count as changed)" * (begun != _PYTHON)
                raise ConfigError(
                    f"checkpoint={self.path!r}: {what} changed since the checkpoint was begun{by}: what was done would "
                    f"not fit what is still to be done; restart=True begins again"
                )

    def _write_plan(self, plan: dict[str, Any]) -> None:
        part = self.file("plan.part")
        with naming(part):
            fd = create_new(part)
            try:
                write_all(fd, encoded(0, plan), 0, part)
                os.fsync(fd)
            finally:
                os.close(fd)
            os.replace(part, self.file("plan"))
            # The name in the folder, then that of the folder.
            sync_directory(part)
            sync_directory(self.path)

    def states(self) -> list[Any]:
        """Return the states that are whole, the last one first: there are two at the most."""
        return [state for _, state in sorted(_states(self.path), key=lambda found: found[0], reverse=True)]

    def go_back_to(self, state: Any) -> None:
        """Have the next state written over the one that counts no more, if `state` is the one before."""
        numbers = [number for number, found in _states(self.path) if found == state]
        self._number, self.state = max(numbers, default=0), state

    @property
    def is_due(self) -> bool:
        """Whether it is time to commit a state."""
        return self.is_free and time.monotonic() >= self._begin_s + CUT_S

    @property
    def is_free(self) -> bool:
        """Whether the last state is long enough ago for the next to cost little."""
        return time.monotonic() >= self._free_s

    def commit(self, state: Any, data: Sequence[str] = ()) -> None:
        """Note a state for good, behind the files `data` that it tells of.

        If it raises, or the process is killed, or the power is cut, the state before counts.
        """
        begin = time.monotonic()
        number = self._number + 1
        name = self.file(_STATES[number % 2])
        is_first = not os.path.exists(name)
        for path in data:
            sync(path)
        for path in {os.path.dirname(path): path for path in data}.values():
            sync_directory(path)
        fd = os.open(name, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            made = encoded(number, state)
            write_all(fd, made, 0, name)
            with naming(name):
                os.ftruncate(fd, len(made))  # the rest of a longer one; the head says where this one ends
                os.fsync(fd)
        finally:
            os.close(fd)
        # The first contents are on the disk before their name is: where a power cut takes the name, the state before
        # counts.
        if is_first:
            sync_directory(name)
        self._number, self.state = number, state
        end = time.monotonic()
        self._begin_s, self._free_s = end, end + COST * (end - begin)

    def clear(self) -> None:
        """Remove all that belongs to a checkpoint. The plan goes first: without it nothing else counts."""
        for name in sorted(os.listdir(self.path)):
            if _OURS.fullmatch(name) and not name.startswith(("state", "results", "stage")):
                os.unlink(self.file(name))
        sync_directory(self.file("plan"))
        for name in os.listdir(self.path):
            if _OURS.fullmatch(name):
                os.unlink(self.file(name))

    def close(self) -> None:
        """Let others use the folder."""
        self._lock.release()


def check_restart(checkpoint: object, restart: object) -> None:
    """Refuse a `restart` of nothing, and one that is no bool."""
    if not isinstance(restart, bool):
        raise ConfigError(f"restart must be True or False, not {restart!r}")
    if restart and checkpoint is None:
        raise ConfigError("restart=True goes with checkpoint=, the folder to begin again in")


def plan_of(path: str) -> dict[str, Any] | None:
    """Return the plan of the checkpoint in a folder; None if there is none that is whole."""
    try:
        with open(os.path.join(path, "plan"), "rb") as file:
            found = decoded(file.read())
    except FileNotFoundError:
        return None
    return None if found is None else found[1]


def newest_state(path: str) -> tuple[int, Any]:
    """Return number and value of the last state that is whole; (0, None) if there is none."""
    return max(_states(path), key=lambda state: state[0], default=(0, None))


def commit_times(path: str) -> tuple[int, ...]:
    """Return numbers that are others after each commit."""
    found = []
    for name in _STATES:
        with contextlib.suppress(OSError):
            found.append(os.stat(os.path.join(path, name)).st_mtime_ns)
    return tuple(found)


def _states(path: str) -> Iterator[tuple[int, Any]]:
    for name in _STATES:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(path, name), "rb") as file:
            found = decoded(file.read())
            if found is not None:
                yield found


def _check_foreign(path: str) -> None:
    """Refuse a folder of other files, before anything is written to it."""
    if plan_of(path) is not None:
        return
    foreign = next((name for name in sorted(os.listdir(path)) if not _USED.fullmatch(name)), None)
    if foreign is not None:
        raise ConfigError(
            f"checkpoint={path!r}: the folder holds {foreign!r}, which is no part of a checkpoint: give another folder"
        )


def _checked(path: Any) -> str:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigError(f"checkpoint must be the path of a folder, not {path!r}")
    made = os.path.abspath(os.fspath(path))
    folder = os.path.dirname(made)
    if not os.path.isdir(folder) or "\0" in made:
        raise ConfigError(f"checkpoint={made!r}: there is no folder {folder!r}{home_hint(folder)}")
    if os.path.exists(made) and not os.path.isdir(made):
        raise ConfigError(f"checkpoint={made!r} is a file: give the path of a folder")
    return made
