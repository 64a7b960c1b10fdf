"""Before its first named block a program has no name anywhere that could be left; with it, its session appears."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pardata.memory.named import session
from tests.faults.programs import ended_by_a_kill, wait_for, without_session

WITHOUT_BLOCKS = {
    "import": "",
    "arrays": "kept = pardata.zeros(1000)",
    "stream": "list(pardata.source(range(4)).map(lambda n: n, workers=2))",
    "pool": "pool = pardata.WorkerPool(2); pool.submit(int).result()",
}


@pytest.mark.parametrize("work", WITHOUT_BLOCKS.values(), ids=WITHOUT_BLOCKS)
def test_program_without_named_blocks_is_killed_and_leaves_nothing(work: str) -> None:
    code = f"import os, pardata, signal\n{work}\nprint(os.environ['{session.VARIABLE}'], flush=True)\ninput()"
    with ended_by_a_kill(code) as (path,):
        assert os.path.basename(path).split("-")[0].isdecimal()
        assert not os.path.exists(path)
    assert not os.path.exists(path)


FIRST_BLOCKS = """
import multiprocessing, os, sys
import pardata
from pardata.memory.named import session

def first_block(start, end):
    start.wait()
    made = pardata.SharedMemory(create=True, size=1)
    os.write(1, f"{made.name} {session.tree().path} {os.path.exists(session.tree().path)}\\n".encode())
    end.wait()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    start, end = context.Barrier(4), context.Event()
    children = [context.Process(target=first_block, args=(start, end)) for _ in range(4)]
    for child in children:
        child.start()
    sys.stdin.readline()
    end.set()
    for child in children:
        child.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_first_blocks_of_many_children_at_once_are_of_one_session(method: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(FIRST_BLOCKS)
    with subprocess.Popen(
        [sys.executable, str(script), method],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=without_session(),
    ) as main:
        assert main.stdout is not None and main.stdin is not None
        lines = [main.stdout.readline().split() for _ in range(4)]
        assert {(path, there) for _, path, there in lines} == {(lines[0][1], "True")}
        assert len({name for name, _, _ in lines}) == 4
        main.stdin.write("\n")
        main.stdin.flush()
    assert not [name for name, _, _ in lines if os.path.exists(f"/dev/shm/{name}")]
    assert not os.path.exists(lines[0][1])


def test_program_that_closes_all_descriptors_before_its_first_block() -> None:
    """As one that becomes a daemon may do."""
    code = """
import os, pardata
os.closerange(3, 100)
block = pardata.SharedMemory(create=True, size=1)
from pardata.memory.named import session
assert os.path.dirname(session.tree().register.path) == session.tree().path == os.environ[session.VARIABLE]
child = os.fork()
if not child:
    assert pardata.SharedMemory(create=True, size=1).size == 1
    assert os.environ[session.VARIABLE] == session.tree().path
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(block.name, session.tree().path, os.path.exists(session.tree().path))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without_session())
    name, path, there = done.stdout.split() or [done.stderr, "", ""]
    assert there == "True", done.stderr
    assert not os.path.exists(f"/dev/shm/{name}") and not os.path.exists(path)


def test_what_a_worker_hands_over_goes_when_main_is_killed() -> None:
    """No block had been made before: the one who hands over starts the guardian."""
    code = """
import multiprocessing, os, pickle
from multiprocessing import util
import pardata
from pardata.memory.named import session

def work():
    util.Finalize(None, report, exitpriority=-7)  # behind the handing over
    global data
    data = pickle.dumps(pardata.zeros(100_000))

def report():
    tree = session.tree()
    print(tree._guardian.pid if tree._guardian else 0, *[name for name in tree.register._slots], flush=True)

worker = multiprocessing.get_context("fork").Process(target=work)
worker.start()
worker.join()
input()
"""
    with ended_by_a_kill(code) as (pid, name):
        guardian = os.pidfd_open(int(pid))
        assert os.path.exists(f"/dev/shm/{name}")
    wait_for(guardian)
    assert not os.path.exists(f"/dev/shm/{name}")
