"""The session: a process tree whose named blocks are removed when its root is gone. `guardian.py` draws its files.

A session begins when its root imports the package, before root can have started a process that is to belong to it;
the processes that root starts find it by an environment variable, and join it when they make a block. So a block that a
worker has made outlives the worker, and no block outlives root.

Until the first block is made, nothing of a session has a name in the file system (`register.py`). The process that
makes that block, whichever it is, lets the session's directory appear, and starts a guardian.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Final

from pardata.errors import CapacityError, PlatformError
from pardata.memory.named import directories, guardian, os_objects
from pardata.memory.named.guardian import GUARDED_AT, ROOT, FileId
from pardata.memory.named.owner import caller
from pardata.memory.named.register import Register, appear, is_guarded, lives, new_socket_path, prune
from pardata.process.capacity import descriptors_for
from pardata.process.system import at_fork

VARIABLE: Final = "PARDATA_SESSION"
_WHAT: Final = "shared memory with a name"
_DESCRIPTORS: Final = 3  # at a time: a register that is new, a directory, and a file in it
_MOST_GUARDIANS: Final = 5  # started by one process; where none can run, the sweep at the next start does its work


class Session:
    """One session, as this process takes part in it: an `Owner` of blocks."""

    def __init__(self, path: str, register: Register) -> None:
        self.path = path
        self.register = register
        self.is_root = os.path.basename(register.path) == ROOT
        self._token = secrets.token_hex(5)
        self._names = 0
        self._guardian: subprocess.Popen[bytes] | None = None
        self._guardians = self._watched = 0
        self._has_appeared = not self.is_root
        self._lock = threading.Lock()

    @classmethod
    def begin(cls) -> Session:
        """Begin a session with this process as its root. Nothing of it has a name until it is to `appear`."""
        return cls(*_new_path_and_register())

    @classmethod
    def join(cls, path: str) -> Session:
        """Join a session. Raises `FileNotFoundError` if its root is gone."""
        appear(path)
        while guardian.is_alive(path):
            prune(path)
            # SYNC POINT: join. A sweeper may take the new register for a dead process's until it is locked.
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                return cls(path, Register(os.path.join(path, f"{os.getpid()}-{secrets.token_hex(4)}")))
        raise FileNotFoundError(path)

    def new_name(self) -> str:
        """Return a name that no other block of this machine has or will have."""
        self._names += 1
        return f"pd_{self._token}{self._names:06x}"  # of one length: pickles of blocks are too

    def note(self, name: str, file: FileId, nbytes: int, group: int) -> int:
        """Record a block before it has its name; return the slot, which is then kept or dropped."""
        return self.register.note(name, file, nbytes, group, caller())

    def keep(self, name: str, slot: int) -> None:
        """Keep the record: the block has its name now."""
        self.register.keep(name, slot)

    def drop(self, slot: int) -> None:
        """Drop the record: the block did not get its name."""
        self.register.drop(slot)

    def new_socket_path(self) -> str:
        """Return a new path for a socket of this process that only this user can reach, removed with the register."""
        self.watch()
        return new_socket_path(self.register.path)

    def watch(self) -> None:
        """Let the session appear, and have a guardian for it; one that was killed is started again.

        The guardian is looked for at every 16th call. Before its first block, root sweeps the dead sessions.
        """
        if not self._has_appeared:
            with self._lock:  # no other thread makes a block before it has
                if not self._has_appeared:
                    self._appear()
        self._watched += 1
        if self._watched % 16 != 1 or self._guardians >= _MOST_GUARDIANS:
            return
        if self.is_root or not is_guarded(self.path):
            self._start_guardian()

    def _appear(self) -> None:
        with descriptors_for(_WHAT, _DESCRIPTORS):
            for base in directories.base_directories():
                guardian.sweep(base)
            try:
                appear(self.path)
            except FileNotFoundError:
                _replace(self)
                appear(self.path)
            self._has_appeared = True

    def _start_guardian(self) -> None:
        if self._guardian is None or self._guardian.poll() is not None:
            self._guardians += 1
            with contextlib.suppress(OSError):  # where none can be started, the sweep at the next start does its work
                self._guardian = subprocess.Popen(
                    [sys.executable, "-I", "-S", guardian.__file__, self.path],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    start_new_session=True,
                )
                with open(os.path.join(self.path, ROOT), "r+b", buffering=0) as file:
                    os.pwrite(file.fileno(), b"\1", GUARDED_AT)

    def end(self) -> None:
        """Leave the session. Root removes all blocks but those whose creators live; another process removes none."""
        if self._guardian is not None:
            self._guardian.returncode = 0  # it ends when it finds the directory gone: it need not be waited for
        self.register.stop()
        if self.is_root:  # as long as it has its lock, no sweep of others comes between
            guardian.sweep_session(self.path, by_root=True)
        self.register.close(remove=self.register.is_empty and not self.is_root)
        if self.is_root:
            guardian.sweep_session(self.path)  # a child may just have let it appear

    def abandon(self) -> None:
        """Let go of the session in a forked child: all this is the parent's."""
        if self._guardian is not None:
            self._guardian.returncode = 0
        self.register.close(remove=False)

    def __repr__(self) -> str:
        return f"<Session {self.path}{', root' if self.is_root else ''}>"


def _new_path_and_register() -> tuple[str, Register]:
    """Return the path of a session that begins, and its root's register, which is this process's."""
    base = directories.base_directory(make=False)
    fd = os_objects.create_nameless() if os_objects.is_beside_blocks(base) else -1
    if fd >= 0:
        path = os.path.join(base, f"{os.getpid()}-{fd}-{os.fstat(fd).st_ino}-{secrets.token_hex(4)}")
        register = Register(os.path.join(path, ROOT), fd)
        is_found = False
        try:
            is_found = lives(path)  # not where there is no /proc that others could reach it by
        finally:
            if not is_found:
                register.close(remove=False)
        if is_found:
            return path, register
    while True:
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # a sweep has taken it for a dead one
            path = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=directories.base_directory())
            return path, Register(os.path.join(path, ROOT))


_lock = threading.RLock()
_sessions: dict[str, Session] = {}  # that this process takes part in, by path
_tree: Session | None = None


def tree() -> Session:
    """Return the session of this process tree, begun or joined at the first call.

    Raises `OSError`, `CapacityError`, `PlatformError`.
    """
    global _tree
    os_objects.check_shm()
    with _lock:
        if _tree is None:
            # Any other error is raised: for want of descriptors no second session begins beside the first.
            with contextlib.suppress(KeyError, FileNotFoundError):
                _tree = joined(os.environ[VARIABLE])
            if _tree is None:
                _tree = _begin()
                os.environ[VARIABLE] = _tree.path  # for the processes that this one starts
        return _tree


def is_joined() -> bool:
    """Return whether this process belongs to the session of another process that lives. Raises as `is_alive`."""
    with _lock:
        if _tree is not None:
            return not _tree.is_root
        path = os.environ.get(VARIABLE)
        return path is not None and lives(path)


def own() -> Session:
    """Return a session whose root this process is."""
    with _lock:
        mine = [session for session in _sessions.values() if session.is_root]
        return mine[0] if mine else tree() if tree().is_root else _begin()


def joined(path: str) -> Session:
    """Return the session at `path`, joined at the first call. Raises `FileNotFoundError` if its root is gone."""
    with _lock:
        if path not in _sessions:
            if not directories.may_hold(path):
                raise FileNotFoundError(path)
            with descriptors_for(_WHAT, _DESCRIPTORS):
                _sessions[path] = Session.join(path)
        return _sessions[path]


@contextlib.contextmanager
def taking_part(session: Session) -> Iterator[bool]:
    """Give whether this process still takes part in a session, and keep it from leaving meanwhile."""
    with _lock:
        yield _sessions.get(session.path) is session


def _begin() -> Session:
    with descriptors_for(_WHAT, _DESCRIPTORS):
        session = Session.begin()
    _sessions[session.path] = session
    return session


def _replace(lost: Session) -> None:
    """Begin a session anew that has no block yet and whose descriptors this program has closed, as a daemon does."""
    path, register = _new_path_and_register()
    with _lock:
        _sessions.pop(lost.path, None)
        _sessions[path] = lost
        if os.environ.get(VARIABLE) == lost.path:
            os.environ[VARIABLE] = path
        lost.path, lost.register = path, register


def forget_name(name: str) -> None:
    """Forget a block whose name this process has removed, if this process had recorded it."""
    for session in list(_sessions.values()):
        session.register.forget(name)


def _end_all() -> None:
    global _tree
    with _lock:
        while _sessions:
            try:
                _sessions.popitem()[1].end()
            except MemoryError:  # no memory to read the records: the guardian removes the blocks
                pass
            except OSError as error:
                if error.errno not in guardian.SHORTAGES:
                    raise
        _tree = None


def _forget() -> None:
    global _lock, _tree
    _lock, _tree = threading.RLock(), None
    while _sessions:
        _sessions.popitem()[1].abandon()


def _begin_early() -> None:
    """Begin a session if this process is not in one. An error is left to the call that creates the first block."""
    with contextlib.suppress(OSError, CapacityError, PlatformError):
        path = os.environ.get(VARIABLE)
        if path is None or not lives(path):
            tree()


atexit.register(_end_all)
at_fork(after_in_child=_forget)
_begin_early()
