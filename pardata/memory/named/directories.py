"""The directory of a user's sessions, which nobody else may write to.

    /dev/shm/pardata-<uid>                 as a rule
    $XDG_RUNTIME_DIR/pardata-<uid>         where that name is somebody else's, or a link, or others may write there
    <temporary>/pardata-<uid>              where there is no such directory either
    <temporary>/pardata-<uid>-<anything>   where that is taken as well: the first one of this user's

The processes of a session know its path. So they need not agree on this choice, which depends on the environment; a
sweep looks into all of these directories.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile

from pardata.memory.named import guardian

_TAKEN, _FREE, _OURS = range(3)  # of a path: somebody else's, nothing is there, private to this user


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
    """Return the paths whose names are fixed, the best first."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [guardian.SHM] if os.access(guardian.SHM, os.W_OK) else []  # it may be mounted for reading alone
    if os.path.isabs(runtime) and _state(runtime) == _OURS:
        folders.append(runtime)
    return [os.path.join(folder, _name()) for folder in (*folders, _temporary())]


def _temporary() -> str:
    """Return the directory of temporary files; the usual one where this process can write to none at the moment."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/tmp"


def _others() -> list[str]:
    """Return this user's directories with random names, which nobody could have taken before."""
    folder, prefix = _temporary(), f"{_name()}-"
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.startswith(prefix)]
    return [path for path in paths if _state(path) == _OURS]


def base_directory(make: bool = True) -> str:
    """Return the directory of this user's sessions, which nobody else may write to; `make` it if it is not there."""
    for path in _candidates():
        while (state := _state(path)) != _TAKEN:
            if state == _OURS or not make:
                return path
            try:
                make_open(path)
            except FileExistsError:
                continue
            except PermissionError:
                break  # this user may make nothing there
    others = _others()
    path = others[0] if others else os.path.join(_temporary(), f"{_name()}-{secrets.token_hex(8)}")
    if make:
        make_private(path)
    return path


def base_directories() -> list[str]:
    """Return all directories of this user's sessions that exist."""
    return [path for path in _candidates() if _state(path) == _OURS] + _others()


def make_open(path: str) -> None:
    """Make a directory that this user may enter, whatever the umask of the program. Raises as `os.mkdir`."""
    os.mkdir(path, 0o700)
    with contextlib.suppress(FileNotFoundError):  # a sweep has removed it
        os.chmod(path, 0o700)


def make_private(path: str) -> None:
    """Make a directory if it is not there. Raises `PermissionError` if it is another user's, or others may write."""
    with contextlib.suppress(FileExistsError):
        make_open(path)
    if _state(path) == _TAKEN:
        raise PermissionError(f"{path} should be a directory that only user {os.geteuid()} can write to")


def may_hold(session: str) -> bool:
    """Return whether a session of this user may be at a path that comes from outside (environment, address)."""
    base = os.path.dirname(session)
    name = os.path.basename(base)
    return (name == _name() or name.startswith(f"{_name()}-")) and _state(base) != _TAKEN
