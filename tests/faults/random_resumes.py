"""Kill everything at a random moment and start again, until it is done: the files must be those of an undisturbed run.

``python -m tests.faults.random_resumes 300`` does so 300 times; a failure names the seed to give as `--begin`. Graph,
source, engine and moments are drawn. The job is a process group of its own, of which all are killed at once; now and
then the disk is full for the main process from some write on. Jobs are forked from a process that has not used pardata.
"""

import argparse
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from pardata.checkpoint import folder as folders
from tests.faults import resumed_streams as streams
from tests.faults.children import exit_after

MOST_KILLS = 6
FULL_DISKS = 0.2  # of the ends of a job


class Job:
    """A function in a process of its own, and its group."""

    def __init__(self, folder, call, *arguments):
        self._errors = f"{folder}/errors"
        begun, is_begun = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.setsid()
            os.dup2(os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.close(is_begun)  # the parent goes on
            exit_after(call, *arguments)
        os.close(is_begun)
        os.read(begun, 1)
        os.close(begun)

    def kill(self, after_s):
        """Kill all, return whether it was at work."""
        time.sleep(after_s)
        os.killpg(self._pid, signal.SIGKILL)
        return self._wait() == -signal.SIGKILL

    def error(self):
        """Wait for its end; return what it says of an error, "" if there was none."""
        if not self._wait():
            return ""
        with open(self._errors) as file:
            return file.read()

    def _wait(self):
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def work(graph, engine, folder, cut_s, source, writes=0):
    """Run a job, to its end or until `writes` writes to the folder were done: then the disk is full."""
    folders.CUT_S, folders.COST = cut_s, 0
    items = streams.SOURCES[source](folder)
    if writes:
        os.write = _Disk(folder, writes)
    streams.run(graph, folder, streams.Repairable(folder), engine, items, checkpoint=f"{folder}/c")


class _Disk:
    """`os.write` of a disk that becomes full."""

    def __init__(self, folder, left):
        self._folder, self._left, self._write = folder, left, os.write

    def __call__(self, fd, data):
        if os.readlink(f"/proc/self/fd/{fd}").startswith(self._folder):
            self._left -= 1
            if self._left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(fd, data)


def check(graph, source, at, whole):
    """Compare the files of a job with those of an undisturbed run."""
    assert streams.outputs(at) == streams.expected(graph, whole, streams.SOURCES[source](at))


def resume(seed, folder):
    """Run a job with kills, then to its end; return kills and full disks. Fails if a file differs."""
    draw = random.Random(seed)
    graph, engine = draw.choice(streams.GRAPHS), draw.choice(["serial", "threads", "processes"])
    source, at = draw.choice(list(streams.SOURCES)), f"{folder}/job"
    what = f"{graph.__name__} of {source} on {engine}, seed {seed}: "
    os.mkdir(at)
    job = work, graph, engine, at, draw.choice([0.0, 0.002, 0.02]), source
    assert not Job(folder, streams.SOURCES[source], at).error()  # its file is there before the first kill
    kills = full = 0
    for _ in range(draw.randrange(1, MOST_KILLS)):
        if draw.random() < FULL_DISKS:
            error = Job(folder, *job, draw.randrange(1, 100)).error()
            assert not error or "No space left" in error, what + error
            full += bool(error)
        else:
            kills += Job(folder, *job).kill(draw.expovariate(1 / (0.6 if engine == "processes" else 0.15)))
    for last in (job, (check, graph, source, at, f"{folder}/whole")):
        error = Job(folder, *last).error()
        assert not error, what + error
    return kills, full


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m tests.faults.random_resumes")
    parser.add_argument("count", type=int)
    parser.add_argument("--begin", type=int, default=0)
    wanted = parser.parse_args(arguments)
    kills = full = 0
    for seed in range(wanted.begin, wanted.begin + wanted.count):
        folder = tempfile.mkdtemp()
        ends = resume(seed, folder)
        kills, full = kills + ends[0], full + ends[1]
        shutil.rmtree(folder)
    print(f"{wanted.count} jobs, {kills} kills, {full} full disks: all files are those of an undisturbed run")


if __name__ == "__main__":
    main(sys.argv[1:])
