"""However a program ends, none of its named blocks is left, and nobody else's is touched (USERS.md 11, 13, 15)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

import pardata
from pardata.memory.named import guardian, register, session
from tests.faults.programs import ended_by_a_kill, program, wait_for, without_session

ENDS = {
    "exit": "",
    "exception": "raise RuntimeError",
    "sys.exit": "sys.exit(3)",
    "os._exit": "os._exit(3)",
    "abort": "os.abort()",
    "in a thread": "threading.Thread(target=block.close).start()",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_ends_by_itself(end: str) -> None:
    with program("\n" + end) as ended:
        out, err = ended.process.communicate()
        ended.wait_for_guardian()
        assert ended.left() == []
        assert not [word for word in ("resource_tracker", "Warning", "ignored", "BufferError") if word in err]
        assert not out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP, signal.SIGSEGV])
def test_ends_by_a_signal(number: signal.Signals) -> None:
    with program() as ended:
        ended.process.send_signal(number)
        ended.process.wait()
        ended.wait_for_guardian()
        assert ended.left() == []


def test_guardian_that_was_killed_is_replaced() -> None:
    again = """
for line in sys.stdin:
    tree._start_guardian()
    print(tree._guardian.pid, flush=True)
"""
    with program(again) as ended:
        ended.kill_guardian()
        os.close(ended.guardian)
        assert ended.process.stdin is not None and ended.process.stdout is not None
        ended.process.stdin.write("again\n")
        ended.process.stdin.flush()
        ended.guardian = os.pidfd_open(int(ended.process.stdout.readline()))
        ended.process.kill()
        ended.process.wait()
        ended.wait_for_guardian()
        assert ended.left() == []


def test_everything_is_killed_at_once_and_the_next_start_removes_it() -> None:
    with program() as ended, program() as other:
        ended.kill_guardian()
        before = set(ended.left())
        assert before > {*ended.names, ended.path}  # and the manager's address
        ended.process.kill()
        ended.process.wait()
        # Any program of this user may be faster, and print what it has removed.
        done = subprocess.run([sys.executable, "-m", "pardata", "sweep"], capture_output=True, text=True)
        assert "of dead sessions removed" in done.stdout, done.stderr
        assert ended.left() == []
        assert set(other.left()) > {*other.names, other.path}


def test_start_of_a_session_sweeps() -> None:
    with program() as ended:
        ended.kill_guardian()
        ended.process.kill()
        ended.process.wait()
        with program():
            assert ended.left() == []


def test_sweepers_do_not_disturb_each_other() -> None:
    with program() as ended:
        ended.kill_guardian()
        ended.process.kill()
        ended.process.wait()
        sweepers = [subprocess.Popen([sys.executable, "-I", "-S", guardian.__file__, ended.path]) for _ in range(8)]
        assert [sweeper.wait() for sweeper in sweepers] == [0] * 8
        assert ended.left() == []


def test_root_is_killed_and_a_child_lives_on() -> None:
    """What the child has made stays with it; what root has made goes."""
    child = """
pid = os.fork()
if not pid:
    mine = pardata.SharedMemory(f"pardata-test-{os.getpid()}", create=True, size=1)
    print(mine.name, os.getpid(), flush=True)
    os.read(0, 1)
    os._exit(0)
os.waitpid(pid, 0)
"""
    with program(child) as ended:
        assert ended.process.stdout is not None and ended.process.stdin is not None
        name, pid = ended.process.stdout.readline().split()
        child_end = os.pidfd_open(int(pid))
        ended.process.kill()
        ended.process.wait()
        registers = [os.path.join(ended.path, guardian.ROOT)]
        while guardian.registers(ended.path)[:1] == registers and set(ended.names) & set(ended.left()):
            os.sched_yield()
        assert os.path.exists(f"/dev/shm/{name}")
        ended.process.stdin.write("x")
        ended.process.stdin.flush()
        wait_for(child_end)
        ended.wait_for_guardian()
        assert ended.left() == []
        assert not os.path.exists(f"/dev/shm/{name}")


def attach(name: str, how: str) -> None:
    block = pardata.SharedMemory(name)
    block.buf[0] += 1
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "os._exit":
        os._exit(1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("how", ["returns", "killed", "os._exit"])
def test_attacher_that_ends_leaves_the_block(method: str, how: str) -> None:
    block = pardata.SharedMemory(create=True, size=10)
    child = multiprocessing.get_context(method).Process(target=attach, args=(block.name, how))
    child.start()
    child.join()
    assert pardata.SharedMemory(block.name).buf[0] == 1
    block.unlink()


def make(name: str) -> str:
    block = pardata.SharedMemory(create=True, size=3)
    block.buf[:] = b"abc"
    return block.name


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_block_outlives_the_worker_that_made_it(method: str) -> None:
    with multiprocessing.get_context(method).Pool(1, maxtasksperchild=1) as pool:
        names = pool.map(make, ["a", "b"], 1)
    for name in names:
        block = pardata.SharedMemory(name)
        assert bytes(block.buf) == b"abc"
        block.unlink()
    register.prune(session.tree().path)


APPLY = "pool.apply(pardata.SharedMemory, (None, True, 3))"
POOLS = {
    "own": ("pardata.WorkerPool(1)", "pool.submit(pardata.SharedMemory, None, True, 3).result()"),
    "fork": ("multiprocessing.get_context('fork').Pool(1)", APPLY),
    "spawn": ("multiprocessing.get_context('spawn').Pool(1)", APPLY),
}
IN_A_WORKER = """
import multiprocessing, pardata

if __name__ == "__main__":
    with {pool} as pool:
        block = {call}
    print(block.name, pardata.SharedMemory(block.name).size)
"""


@pytest.mark.parametrize(("pool", "call"), POOLS.values(), ids=POOLS)
def test_block_of_a_worker_outlives_it_though_main_has_made_none(pool: str, call: str) -> None:
    code = IN_A_WORKER.format(pool=pool, call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without_session())
    name, size = done.stdout.split() or [done.stderr, ""]
    assert size == "3", done.stderr
    assert not os.path.exists(f"/dev/shm/{name}")


def test_block_of_a_worker_is_removed_when_main_is_killed() -> None:
    code = """
import os, pardata
from pardata.memory.named import session
pool = pardata.WorkerPool(1)
block, guardian = pool.submit(lambda: (pardata.SharedMemory(None, True, 3), session.tree()._guardian.pid)).result()
print(block.name, guardian, flush=True)
input()
"""
    with ended_by_a_kill(code) as (name, pid):
        guardian = os.pidfd_open(int(pid))
        assert os.path.exists(f"/dev/shm/{name}")
    wait_for(guardian)
    assert not os.path.exists(f"/dev/shm/{name}")


def test_view_keeps_the_memory_of_a_session_that_is_gone() -> None:
    with program() as ended:
        block = pardata.SharedMemory(ended.names[0])
        block.buf[:3] = b"abc"
        ended.process.kill()
        ended.process.wait()
        ended.wait_for_guardian()
    with pytest.raises(FileNotFoundError):
        pardata.SharedMemory(ended.names[0])
    assert bytes(block.buf[:3]) == b"abc"


def test_command_line_lists_blocks_with_their_holders() -> None:
    with program() as ended:
        block, named = map(pardata.SharedMemory, ended.names[:2])
        done = subprocess.run([sys.executable, "-m", "pardata", "ls"], capture_output=True, text=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith(named.name))
        assert f"{os.getpid()}" in line and f" {ended.process.pid} " in line.partition(":")[2]
        line = next(line for line in done.stdout.splitlines() if line.startswith(block.name))
        assert "100 B" in line and f"{os.getpid()}" in line and f"{ended.process.pid}" in line
        assert os.path.basename(ended.path) in line


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_service_leaves_no_socket(number: signal.Signals) -> None:
    code = "\nserver = pardata.serve(pardata.Table({1: 2})); print(server.address, flush=True); sys.stdin.read()"
    with program(code) as ended:
        assert ended.process.stdout is not None
        place = ended.process.stdout.readline().strip().removeprefix("unix:")
        assert os.path.dirname(place) == ended.path and os.stat(ended.path).st_mode & 0o777 == 0o700
        ended.process.send_signal(number)
        ended.process.wait()
        ended.wait_for_guardian()
        assert ended.left() == []
