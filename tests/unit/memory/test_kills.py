"""A process that is killed at any line of making or removing a named block leaves nothing, and spares other blocks.

A script makes the children: they are killed by a trace function, line by line of the package, and each has a session
of its own and no guardian, so that the sweep of the next start has to do it all.
"""

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import os, signal, sys, types
    from pardata.memory.named import block, directories, guardian, manager, register, session, shareable_list

    session._MOST_GUARDIANS = 0
    mark = f"{os.getpid():x}_"  # in all names: other tests of this kind may be at work
    session.secrets = types.SimpleNamespace(token_hex=lambda _: f"{mark}{os.getpid():x}_")

    name = f"pardata-test-{os.getpid()}"

    def life(action):
        if action in ("new", "join", "first"):
            made = block.SharedMemory(create=True, size=100)
        elif action == "named":
            made = block.SharedMemory(name, create=True, size=100)
        elif action == "list":
            made = shareable_list.ShareableList([1, "two"]).shm
        elif action == "manager":
            with manager.SharedMemoryManager() as owner:
                owner.SharedMemory(100)
                owner.zeros(10)
            return
        else:  # there is such a block: it is somebody else's
            try:
                block.SharedMemory(name, create=True, size=1)
            except FileExistsError:
                return
        made.close()
        made.unlink()
        session._end_all()

    def child(action, line):
        seen = 0
        def trace(frame, event, _):
            nonlocal seen
            if "/pardata/memory/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace
        session._tree = None
        if action not in ("join", "first"):
            os.environ.pop(session.VARIABLE, None)
        sys.settrace(trace)
        life(action)
        os._exit(0)

    def entries():
        return [name for name in os.listdir("/dev/shm") if name.startswith(f"pd_{mark}")]

    def dead():
        return [os.path.basename(path) for path in guardian.sessions(base) if not guardian.is_alive(path)]

    base = directories.base_directory(make=False)
    action = sys.argv[1]
    theirs = block.SharedMemory(name, create=True, size=7, track=False) if action == "taken" else None
    if action == "join":
        del os.environ[session.VARIABLE]
        root = session.tree().path
    line = 0
    while True:
        line += 1
        if action == "first":  # nobody has made a block yet
            session._end_all()
            os.environ.pop(session.VARIABLE, None)
            root = session.tree().path
            assert not os.path.exists(root)
        pid = os.fork()
        if not pid:
            child(action, line)
        status = os.waitpid(pid, 0)[1]
        guardian.sweep(base, wait=True)
        left = [r for r in dead() if r.startswith(f"{pid}-")]
        if action in ("join", "first"):  # what a dead process has made is kept as long as root lives
            register.prune(root)
            for path in guardian.registers(root)[1:]:
                left += [] if any(map(guardian.exists, guardian.read_register(path))) else [path]
            for entry in entries():
                block.SharedMemory(entry).unlink()
        if left or entries() or os.path.exists(f"/dev/shm/{name}") != (theirs is not None):
            sys.exit(f"killed at line {line}: {left}, {entries()}")
        if status == 0:
            break
    if theirs is not None:
        assert block.SharedMemory(name).size == 7
        theirs.unlink()
    if action in ("join", "first"):
        session._end_all()
        assert not os.path.exists(root)
    print(line)
"""


@pytest.mark.parametrize("action", ["new", "named", "taken", "list", "manager", "join", "first"])
def test_killed_at_every_line(action, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), action],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # each entry of the machine's is a line more
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60  # lines
