"""A job in a forked child that ends at its n-th write to the disk: killed, or with the power cut.

A power cut takes what was not flushed: the child puts every file back to what it was at its last `fsync`, or to the
half of itself if there was none, and then ends.
"""

import contextlib
import itertools
import os
from functools import partial

from tests.faults.children import exit_after

STEPS = ("write", "fsync", "replace", "ftruncate", "unlink", "mkdir")
DIED = 9


class Cut:
    """Ends this process in front of the n-th step."""

    def __init__(self, folder, step, is_power_cut):
        self.folder, self.left, self.is_power_cut = str(folder), step, is_power_cut
        # By inode: a file may have another name by now, and another file the inode of one that is gone.
        self.flushed = dict(self.read(path) for path in self.files())
        for name in STEPS:
            setattr(os, name, self.trapped(name, getattr(os, name)))

    def files(self):
        return [os.path.join(at, name) for at, _, names in os.walk(self.folder) for name in names]

    def read(self, path):
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_ino, file.read()

    def trapped(self, name, call):
        def step(*arguments, **options):
            if any(self.is_ours(argument) for argument in arguments):
                self.left -= 1
                if not self.left:
                    self.die()
            made = call(*arguments, **options)
            if name == "fsync":
                path = os.readlink(f"/proc/self/fd/{arguments[0]}")
                if os.path.isfile(path):
                    inode, data = self.read(path)
                    self.flushed[inode] = data
            return made

        return step

    def is_ours(self, argument):
        if isinstance(argument, int) and not isinstance(argument, bool):
            try:
                argument = os.readlink(f"/proc/self/fd/{argument}")
            except OSError:
                return False
        return isinstance(argument, str) and argument.startswith(self.folder)

    def die(self):
        if self.is_power_cut:
            for path in self.files():
                with contextlib.suppress(FileNotFoundError):  # other threads go on meanwhile
                    self.put_back(path)
        os._exit(DIED)

    def put_back(self, path):
        inode, data = self.read(path)
        with open(path, "r+b") as file:
            kept = self.flushed.get(inode, data[: len(data) // 2])
            file.write(kept)
            file.truncate(len(kept))


def _do(job, cut):
    if cut is not None:
        Cut(*cut)
    job()


def in_child(job, cut=None):
    """Return the exit status of a child that does a job: 0, or `DIED`."""
    pid = os.fork()
    if not pid:
        exit_after(_do, job, cut)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def end_at_each_step(make_folder, job, check, is_power_cut, every=1):
    """Have the job end in front of each step, do it again to its end, and check what it has made; return the steps."""
    for step in itertools.count(1, every):
        folder = make_folder()
        status = in_child(partial(job, folder), (folder, step, is_power_cut))
        assert status in (0, DIED)
        if not status:
            return step - 1
        assert in_child(partial(job, folder)) == 0
        check(folder)
