"""However a program ends, no process and no shared memory is left (USERS.md 11); and scripts of any form work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

ENDLESS = """
    import pardata, numpy as np

    def frames():
        while True:
            yield np.zeros(100_000)

    def slow(x):
        return x.cumsum()

    for number, item in enumerate(pardata.source(frames).map(slow, workers=2).map(lambda x: x)):
        if number == 3:
            print("running", flush=True)
"""

POOL = """
    import pardata, threading
    pool = pardata.WorkerPool(2)
    pool.submit(pow, 2, 3).result()
    endless = pool.submit(lambda: __import__("threading").Event().wait())
    print("running", flush=True)
    endless.result()
"""


@contextmanager
def script(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run `code` by ``python -`` in a session of its own, up to its line "running"."""
    process = subprocess.Popen(
        [sys.executable, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        process.stdin.write(textwrap.dedent(code))
        process.stdin.close()
        process.stdin = None
        assert process.stdout.readline() == "running\n", process.communicate()[1]
        yield process
    finally:
        for pid in session_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()
        if process.stderr is not None:
            process.stderr.close()
        process.wait()


def session_of(leader: int) -> list[int]:
    """Return the processes of a session that are alive (zombies are not)."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(entry))
    return found


def shared_memory() -> set[str]:
    """Return the entries of /dev/shm that are pardata's; other programs, and other suites' tests, have theirs."""
    return {name for name in os.listdir("/dev/shm") if "pardata" in name and not name.startswith("pardata-test-")}


def wait_until_gone(leader: int) -> None:
    """Wait on pidfds until every process of the session has ended: a hang fails by the watchdog."""
    while alive := session_of(leader):
        for pid in alive:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            import select

            select.select([fd], [], [])
            os.close(fd)


def sigkill_fork_server_then_parent(process: subprocess.Popen[str]) -> None:
    for pid in session_of(process.pid):
        if pid != process.pid:
            os.kill(pid, signal.SIGKILL)
    process.kill()


ENDS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "ctrl-c": lambda process: os.killpg(process.pid, signal.SIGINT),
    "ctrl-c twice": lambda process: [os.killpg(process.pid, signal.SIGINT) for _ in range(2)] and None,
    "sigterm": lambda process: process.terminate(),
    "sigkill of the parent": lambda process: process.kill(),
    "sigkill of everything": lambda process: os.killpg(process.pid, signal.SIGKILL),
    "sigkill of all but the parent, then the parent": sigkill_fork_server_then_parent,
}


STUCK = """
    import pardata, signal, time

    def stuck(x):
        if x == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(3600)
        return x

    for number in pardata.source(range(9)).map(stuck, chunksize=1):
        print("running", flush=True)
        {leave}
"""


@pytest.mark.parametrize("leave", ["1 / 0", "pass"])
def test_stage_that_is_stuck_and_ignores_signals_is_ended(leave: str) -> None:
    with script(STUCK.format(leave=leave)) as process:
        if leave == "pass":
            ENDS["ctrl-c twice"](process)
        assert process.wait() == (1 if leave == "1 / 0" else -signal.SIGINT)
        wait_until_gone(process.pid)


@pytest.mark.parametrize("code", [ENDLESS, POOL], ids=["stream", "pool"])
@pytest.mark.parametrize("end", list(ENDS))
def test_nothing_is_left(code: str, end: str) -> None:
    before = shared_memory()
    with script(code) as process:
        assert len(session_of(process.pid)) >= 3  # parent, fork server, a worker at least
        ENDS[end](process)
        process.wait()
        wait_until_gone(process.pid)
        assert shared_memory() <= before


BETWEEN = {
    "the word ALONE and the next process": """
        import asyncio, os, signal, pardata
        from pardata.runtime.header import ALONE, ALONE_UNTIL
        from pardata.runtime.supervisor import Supervisor

        launch = Supervisor._launch

        def trapped(self, worker):
            if worker.words[ALONE_UNTIL] == ALONE:
                print("running", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            launch(self, worker)

        async def crash(number):
            if number == 6:
                asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)
                await asyncio.Event().wait()
            return number

        Supervisor._launch = trapped
        list(pardata.source(range(20)).map(crash, concurrency=4).map(abs, workers=2))
    """,
    "the word LEAVE and its message": """
        import itertools, os, signal, socket, threading, pardata
        from pardata.runtime.header import LEAVE

        def die_when_told(workers):
            send = socket.socket.send

            def trapped(*arguments):
                if any(worker.words[LEAVE] for worker in workers):
                    print("running", flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
                return send(*arguments)

            socket.socket.send = trapped

        def stay(x):
            threading.Event().wait()

        def endless():
            yield from itertools.count()

        numbers = pardata.source(endless).map(abs, workers=2)  # some are full, some wait for input, two are at work
        run = pardata.zip(numbers, numbers.map(stay, workers=2).map(abs), numbers.map(abs)).map(max).iterate()
        die_when_told(run._parts.supervisor.workers)
        run.close()
    """,
    "the word LEAVE and its message, of a pool": """
        import os, signal, socket, pardata
        from pardata.runtime.header import LEAVE

        pool = pardata.WorkerPool(2)
        pool.submit(pow, 2, 3).result()
        send, workers = socket.socket.send, pool._backend._loop._supervisor.workers

        def trapped(*arguments):
            if any(worker.words[LEAVE] for worker in workers):
                print("running", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return send(*arguments)

        socket.socket.send = trapped
        pool.shutdown()
    """,
}


@pytest.mark.parametrize("place", BETWEEN)
def test_nothing_is_left_of_a_parent_that_is_killed_between(place: str) -> None:
    before = shared_memory()
    with script(BETWEEN[place]) as process:
        assert process.wait() == -signal.SIGKILL
        wait_until_gone(process.pid)
        assert shared_memory() <= before


def run_script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(arguments or ("-",))],
        input=textwrap.dedent(code),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_script_without_guard_with_lambdas_and_closures() -> None:
    code = """
        import numpy as np
        import pardata

        factor = 3
        class Scale:
            def __init__(self, by): self.by = by
            def __call__(self, x): return x * self.by

        def make(offset):
            return lambda x: x + offset

        print(list(pardata.source(range(4)).map(Scale(factor)).map(make(1), workers=2).map(lambda x: x * factor)))
        with pardata.WorkerPool(2) as pool:
            print(list(pool.map(lambda x: x + factor, range(3))))
    """
    done = run_script(code)
    assert (done.stdout, done.stderr) == ("[3, 12, 21, 30]\n[3, 4, 5]\n", "")


def test_instances_of_classes_of_the_script_come_back_as_such() -> None:
    code = """
        import pardata
        from dataclasses import dataclass

        @dataclass
        class Point:
            x: int

        moved = list(pardata.source([Point(1), Point(2)]).map(lambda p: Point(p.x + 1)))
        print(moved == [Point(2), Point(3)], all(type(p) is Point for p in moved))
    """
    done = run_script(code)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_script_that_forgets_to_close_ends_silently() -> None:
    code = """
        import pardata
        run = pardata.source(range(10**9)).map(lambda x: x).iterate()
        print(next(run))
        pool = pardata.WorkerPool(2)
        print(pool.submit(pow, 2, 3).result())
    """
    done = run_script(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n8\n", "")


def test_kept_results_outlive_their_run_and_their_pool() -> None:
    code = """
        import numpy as np, pardata
        kept = list(pardata.source(np.full(50_000, n, float) for n in range(20)).map(lambda x: x + 1))
        with pardata.WorkerPool(2) as pool:
            kept.append(pool.submit(np.full, 50_000, 21.0).result())
            kept.append(pool.map_array(lambda x: x + 1, np.full(50_000, 21.0)))
        again = list(pardata.source(np.zeros(50_000) for n in range(50)).map(lambda x: x - 1))
        print([int(x[0]) for x in kept] == list(range(1, 21)) + [21, 22], all((x == x[0]).all() for x in kept))
    """
    done = run_script(code)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_the_fork_server_may_be_killed_during_a_run() -> None:
    code = """
        import os, signal
        import pardata
        from pardata.process.launcher import fork_server

        out = []
        for item in pardata.source(range(3000)).map(lambda x: x + 1, workers=2).map(lambda x: x):
            out.append(item)
            if len(out) in (20, 500):
                os.kill(fork_server.pid, signal.SIGKILL)
        print(out == list(range(1, 3001)))
    """
    done = run_script(code)
    assert (done.stdout, done.stderr) == ("True\n", "")
