"""A process that is killed at any line of making or removing a named block leaves nothing, and spares other blocks.

A script makes the children: they are killed by a trace function at lines of the package, and each has a session of its
own and no guardian, so that the sweep of the next start has to do it all. The first child is not killed: it looks in
front of which lines what a kill would leave has changed. At the others a kill would leave what it leaves there.
"""

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import collections, os, pickle, signal, sys, types
    from pardata.memory.named import block, directories, guardian, manager, register, session, shareable_list

    session._MOST_GUARDIANS = 0
    mark = f"{os.getpid():x}_"  # in all names: other tests of this kind may be at work
    session.secrets = types.SimpleNamespace(token_hex=lambda _: f"{mark}{os.getpid():x}_")

    name = f"pardata-test-{os.getpid()}"
    shm = f"/dev/shm/{name}"

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

    def left_by_a_kill():  # names, files and locks, of this child's session and of that which it joins
        paths = [os.path.join(base, name) for name in os.listdir(base) if name.startswith(f"{os.getpid()}-")]
        files = [entry for path in [*paths, root] if os.path.isdir(path) for entry in os.scandir(path)]
        contents = [(file.path, file.is_file() and open(file.path, "rb").read(1 << 14)) for file in files]
        with open("/proc/locks") as locks:
            held = [line.partition(":")[2] for line in locks if f" {os.getpid()} " in line]
        blocks = [(entry, os.stat(f"/dev/shm/{entry}").st_ino) for entry in entries() + [name] * os.path.exists(shm)]
        return paths, contents, held, blocks

    def child(action, place, pipe):
        visits, places, last = collections.Counter(), [], None
        def at(line):
            nonlocal last
            visits[line] += 1
            if (*line, visits[line]) == place:
                os.kill(os.getpid(), signal.SIGKILL)
            if place is None and (found := left_by_a_kill()) != last:
                places.append((*line, visits[line]))
                last = found
        def trace(frame, event, _):
            if "/pardata/memory/" not in frame.f_code.co_filename:
                return None
            if event == "line":
                at((frame.f_code.co_filename, frame.f_lineno))
            return trace
        session._tree = None
        if action not in ("join", "first"):
            os.environ.pop(session.VARIABLE, None)
        sys.settrace(trace)
        life(action)
        sys.settrace(None)
        with open(pipe, "wb") as told:
            pickle.dump((places, visits.total()), told)
        os._exit(0)

    def entries():
        return [name for name in os.listdir("/dev/shm") if name.startswith(f"pd_{mark}")]

    def dead():
        return [os.path.basename(path) for path in guardian.sessions(base) if not guardian.is_alive(path)]

    base = directories.base_directory(make=False)
    action = sys.argv[1]
    theirs = block.SharedMemory(name, create=True, size=7, track=False) if action == "taken" else None
    root = ""  # the session that is joined
    if action == "join":
        del os.environ[session.VARIABLE]
        root = session.tree().path
    places = [None]
    while places:
        place = places.pop()
        if action == "first":  # nobody has made a block yet
            session._end_all()
            os.environ.pop(session.VARIABLE, None)
            root = session.tree().path
            assert not os.path.exists(root)
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            child(action, place, writing)
        os.close(writing)
        with open(reading, "rb") as pipe:
            told = pipe.read()
        if place is None:
            places, lines = pickle.loads(told)
            killed = len(places)
        os.waitpid(pid, 0)
        guardian.sweep(base, wait=True)
        left = [r for r in dead() if r.startswith(f"{pid}-")]
        if action in ("join", "first"):  # what a dead process has made is kept as long as root lives
            register.prune(root)
            for path in guardian.registers(root)[1:]:
                left += [] if any(map(guardian.exists, guardian.read_register(path))) else [path]
            for entry in entries():
                block.SharedMemory(entry).unlink()
        if left or entries() or os.path.exists(shm) != (theirs is not None):
            sys.exit(f"killed at {place}: {left}, {entries()}")
    if theirs is not None:
        assert block.SharedMemory(name).size == 7
        theirs.unlink()
    if action in ("join", "first"):
        session._end_all()
        assert not os.path.exists(root)
    print(lines, killed)
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
    lines, killed = map(int, done.stdout.split())
    assert lines > 60 and killed > 5
