"""Programs that make named blocks, or none, and are ended."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pardata.memory.named import directories, session

MAKE = """
    import os, signal, sys, threading
    import numpy as np
    import pardata
    from pardata.memory.named import session

    block = pardata.SharedMemory(create=True, size=100)
    named = pardata.SharedMemory(f"pardata-test-{os.getpid()}", create=True, size=100)
    items = pardata.ShareableList([1, "two"])
    manager = pardata.SharedMemoryManager()
    manager.start()
    managed = [manager.SharedMemory(10), manager.ShareableList("ab").shm]
    names = [made.name for made in (block, named, items.shm, *managed)]
    view = np.frombuffer(block.buf, np.uint8)
    array = manager.zeros(5)
    shared = pardata.zeros((10, 1000))
    tree = session.tree()
    print(tree.path, tree._guardian.pid, *names, flush=True)
"""


def without_session() -> dict[str, str]:
    """The environment of a program that is nobody's child."""
    return {key: value for key, value in os.environ.items() if key != session.VARIABLE}


def links() -> dict[str, str]:
    """The addresses of all managers of this user."""
    base = directories.base_directory(make=False)
    found = {}
    for name in os.listdir(base) if os.path.isdir(base) else []:
        with suppress(OSError):
            found[name] = os.readlink(os.path.join(base, name))
    return found


class Program:
    """A script that has made blocks of all kinds and waits."""

    def __init__(self, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler=0", "-c", textwrap.dedent(MAKE) + code],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=without_session(),
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert words, self.process.communicate()[1]
        self.path, self.guardian, self.names = words[0], os.pidfd_open(int(words[1])), words[2:]

    def wait_for_guardian(self) -> None:
        """Wait until the guardian has ended."""
        waiter = select.poll()
        waiter.register(self.guardian, select.POLLIN)
        waiter.poll()

    def kill_guardian(self) -> None:
        """Kill the guardian, and wait for that."""
        signal.pidfd_send_signal(self.guardian, signal.SIGKILL)
        self.wait_for_guardian()

    def left(self) -> list[str]:
        """What is left of the program."""
        entries = os.listdir("/dev/shm")
        addresses = [link for link, target in links().items() if os.path.dirname(target) == self.path]
        return [name for name in self.names if name in entries] + addresses + [self.path] * os.path.exists(self.path)


@contextmanager
def program(code: str = "\nsys.stdin.read()") -> Iterator[Program]:
    """Run the script, and end it if it has not ended."""
    made = Program(code)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()
        made.wait_for_guardian()
        os.close(made.guardian)


def wait_for(process: int) -> None:
    """Wait until a process has ended, and close its descriptor."""
    waiter = select.poll()
    waiter.register(process, select.POLLIN)
    waiter.poll()
    os.close(process)


@contextmanager
def ended_by_a_kill(code: str) -> Iterator[list[str]]:
    """Run a program; give the words of its first line, then kill it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, env=without_session()
    ) as main:
        assert main.stdout is not None
        try:
            yield main.stdout.readline().split()
        finally:
            main.kill()
