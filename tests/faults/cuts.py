"""A job in a forked child that ends at its n-th step on the disk: killed, with the power cut, or with the disk full.

Steps are writes and flushes by way of `os`, and what the interpreter audits, whichever library does it: files that are
opened for writing, and names that are made, changed or removed.

A power cut takes what was not flushed: the child puts every file back to what it was at its last `fsync`, or to the
half of itself if there was none, and then ends. A full disk takes nothing more: the step raises, and those behind it.
"""

import contextlib
import errno
import itertools
import os
import sys
import threading
from functools import partial

from tests.faults.children import exit_after

ENDS = ("kill", "power cut", "full disk")
CALLS = ("write", "fsync")
AUDITED = {"open", "os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.link"}
TAKE_NO_SPACE = {"os.remove", "os.truncate", "os.rmdir"}
WRITES = os.O_WRONLY | os.O_RDWR
DIED = 9
FLUSHED_BY_SQLITE = (".db", "-shm")  # in C, which is not seen here; rows that are new lie in "-wal"


class Cut:
    """Ends this process in front of the n-th step."""

    def __init__(self, folder, step, end):
        self.folder, self.left, self.end = str(folder), step, end
        self.cutting = None  # the thread that puts the files back
        # By inode: a file may have another name by now, and another file the inode of one that is gone.
        self.flushed = dict(self.read(path) for path in self.files())
        for name in CALLS:
            setattr(os, name, self.trapped(name, getattr(os, name)))
        sys.addaudithook(self.audit)

    def files(self):
        return [os.path.join(at, name) for at, _, names in os.walk(self.folder) for name in names]

    def read(self, path):
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_ino, file.read()

    def trapped(self, name, call):
        def step(*arguments, **options):
            self.step(name, arguments[:1])
            made = call(*arguments, **options)
            if name == "fsync":
                path = os.readlink(f"/proc/self/fd/{arguments[0]}")
                if os.path.isfile(path):
                    inode, data = self.read(path)
                    self.flushed[inode] = data
            return made

        return step

    def audit(self, event, arguments):
        if event in AUDITED and (event != "open" or arguments[2] & WRITES):
            self.step(event, arguments[:2])

    def step(self, name, paths):
        if not any(map(self.is_ours, paths)):
            return
        if self.cutting not in (None, threading.get_ident()):
            threading.Event().wait()  # the power is cut for all threads at once
        self.left -= 1
        if self.end == "full disk":
            if self.left <= 0 and name not in TAKE_NO_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif not self.left:
            self.die()

    def is_ours(self, argument):
        if isinstance(argument, int):
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return False
        return isinstance(argument, str | os.PathLike) and os.fspath(argument).startswith(self.folder)

    def die(self):
        if self.end == "power cut":
            self.cutting = threading.get_ident()
            for path in self.files():
                with contextlib.suppress(FileNotFoundError):  # a call of another thread may be under way
                    self.put_back(path)
        os._exit(DIED)

    def put_back(self, path):
        inode, data = self.read(path)
        kept = self.flushed.get(inode, data[: len(data) // 2])
        if path.endswith(FLUSHED_BY_SQLITE) or (path.endswith("-wal") and not data.startswith(kept)):
            return
        with open(path, "r+b") as file:
            file.write(kept)
            file.truncate(len(kept))


def _do(job, cut):
    if cut is not None:
        Cut(*cut)
    try:
        job()
    except BaseException as error:
        if cut is not None and getattr(error, "errno", None) == errno.ENOSPC:
            os._exit(DIED)
        raise


def in_child(job, cut=None):
    """Return the exit status of a child that does a job: 0, or `DIED`."""
    pid = os.fork()
    if not pid:
        exit_after(_do, job, cut)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_at_each_step(make_folder, job, check, end, every=1):
    """Have the job end in front of each step, do it again to its end, and check what it has made; return the steps."""
    for step in itertools.count(1, every):
        folder = make_folder()
        status = in_child(partial(job, folder), (folder, step, end))
        assert status in (0, DIED), (step, end)
        if not status:
            return step - 1
        assert in_child(partial(job, folder)) == 0, (step, end)
        check(folder)
