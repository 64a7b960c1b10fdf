"""Where the sessions of a user are: in a directory that nobody else may write to.

    /dev/shm/pardata-<uid>                 as a rule
    $XDG_RUNTIME_DIR/pardata-<uid>         where that name is somebody else's, or a link, or others may write there
    <temporary>/pardata-<uid>              where there is no such directory either
    <temporary>/pardata-<uid>-<anything>   where that is taken as well: the first one of this user's

The processes of a session know its path. So they need not agree on this choice, which depends on the environment, and
who sweeps looks at all of them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile

from pardata.memory.named import guardian

_TAKEN, _FREE, _OURS = range(3)


def _state(path: str) -> int:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return _FREE
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return _OURS if is_private else _TAKEN


def _name() -> str:
    return f"pardata-{os.geteuid()}"


def _candidates() -> list[str]:
    """Return the paths with names that are known beforehand, the best first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [guardian.SHM]
    if os.path.isabs(runtime) and _state(runtime) == _OURS:
        folders.append(runtime)
    return [os.path.join(folder, _name()) for folder in (*folders, tempfile.gettempdir())]


def _others() -> list[str]:
    """Return the directories of this user with names that nobody could have taken before."""
    folder, prefix = tempfile.gettempdir(), f"{_name()}-"
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.startswith(prefix)]
    return [path for path in paths if _state(path) == _OURS]


def base_directory(make: bool = True) -> str:
    """Return where the sessions of this user are, or are to be: a directory that nobody else may write to."""
    for path in _candidates():
        while (state := _state(path)) != _TAKEN:
            if state == _OURS or not make:
                return path
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            except PermissionError:
                break  # nobody may make anything there
    others = _others()
    path = others[0] if others else os.path.join(tempfile.gettempdir(), f"{_name()}-{secrets.token_hex(8)}")
    if make:
        make_private(path)
    return path


def base_directories() -> list[str]:
    """Return all places of sessions of this user that there are."""
    return [path for path in _candidates() if _state(path) == _OURS] + _others()


def make_private(path: str) -> None:
    """Have a directory of this user there. Raises `PermissionError` if it is somebody else's, or others may write."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    if _state(path) == _TAKEN:
        raise PermissionError(f"{path} should be a directory that only user {os.geteuid()} can write to")


def may_hold(session: str) -> bool:
    """Whether a session of this user may be at this path, which somebody has told."""
    base = os.path.dirname(session)
    name = os.path.basename(base)
    return (name == _name() or name.startswith(f"{_name()}-")) and _state(base) != _TAKEN
