"""A process that is killed at any line of making or removing a named block leaves nothing, and spares other blocks.

A script makes the children: they are killed by a trace function, line by line of the package, and each has a session
of its own and no guardian, so that the sweep of the next start has to do it all.
"""

import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import os, signal, sys
    from pardata.memory import block, guardian, manager, session, shareable_list

    session._MOST_GUARDIANS = 0

    def life(action):
        name = "pardata-test-killed"
        if action == "new":
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
        os.environ.pop(session.VARIABLE, None)
        sys.settrace(trace)
        life(action)
        os._exit(0)

    def entries():
        return sorted(name for name in os.listdir("/dev/shm") if not name.startswith("psm_"))

    def dead():
        base = guardian.base_directory()
        return [name for name in os.listdir(base)
                if not os.path.islink(os.path.join(base, name)) and not guardian.is_alive(os.path.join(base, name))]

    action = sys.argv[1]
    theirs = block.SharedMemory("pardata-test-killed", create=True, size=7, track=False) if action == "taken" else None
    line = 0
    while True:
        line += 1
        pid = os.fork()
        if not pid:
            child(action, line)
        status = os.waitpid(pid, 0)[1]
        guardian.sweep(guardian.base_directory())
        left = [r for r in dead() if r.startswith(f"{pid}-")]
        if left or os.path.exists("/dev/shm/pardata-test-killed") != (theirs is not None):
            sys.exit(f"killed at line {line}: {left}, {entries()}")
        names = [name for name in entries() if name.startswith("pd_") and name not in known] if line > 1 else []
        known = entries() if line == 1 else known
        if names:
            sys.exit(f"killed at line {line}: left {names}")
        if status == 0:
            break
    if theirs is not None:
        assert block.SharedMemory("pardata-test-killed").size == 7
        theirs.unlink()
    print(line)
"""


@pytest.mark.parametrize("action", ["new", "named", "taken", "list", "manager"])
def test_killed_at_every_line(action):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), action],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60  # lines
