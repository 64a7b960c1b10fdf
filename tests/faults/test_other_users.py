"""Somebody else has the name under which a user's sessions belong: they go elsewhere, and are swept there."""

import json
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

MOUNT = "mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs /mnt && mkdir -m 700 /mnt/run /mnt/tmp"

pytestmark = pytest.mark.skipif(
    shutil.which("unshare") is None
    or os.geteuid() != 0
    or subprocess.run(["unshare", "-m", "sh", "-c", MOUNT], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let us mount a file system of our own",
)

SCRIPT = """
    import glob, json, os, signal, subprocess, sys
    import pardata
    from pardata.memory.named import inspector, session

    made = pardata.SharedMemory("mine", create=True, size=100)
    made.buf[0] = 7
    child = '''
    import os, pardata, sys
    from pardata.memory.named import session
    os.environ.pop("XDG_RUNTIME_DIR", None)  # it knows the session's path, and need not find it
    with pardata.SharedMemory("mine") as block:
        other = pardata.SharedMemory("childs", create=True, size=100)
        print(block.buf[0], session.tree().path)
    '''
    said = subprocess.run([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
    with pardata.SharedMemoryManager(address="theirs") as manager:
        other = pardata.SharedMemoryManager(address="theirs")
        other.connect()
    with pardata.WorkerPool(1) as pool:
        made_by_worker = pool.submit(lambda: pardata.SharedMemory("workers", create=True, size=10).name).result()
    listed = [(block.name, block.is_alive) for block in inspector.blocks()]
    tree = session.tree()
    print(json.dumps([tree.path, said.stdout.split(), sorted(os.listdir("/dev/shm")), listed]))
    sys.stdout.flush()
    os.kill(tree._guardian.pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
"""

SQUATS = {
    "of another user": "mkdir {0} && chown 65534 {0}",
    "a link": "mkdir /mnt/elsewhere && ln -s /mnt/elsewhere {0}",
    "where others may write": "mkdir {0} && chmod 777 {0}",
}
PLACES = {
    "/mnt/run/pardata-0": ["/dev/shm/pardata-0"],
    "/mnt/tmp/pardata-0": ["/dev/shm/pardata-0", "/mnt/run/pardata-0"],
    "/mnt/tmp/pardata-0-": ["/dev/shm/pardata-0", "/mnt/run/pardata-0", "/mnt/tmp/pardata-0"],
}


@pytest.mark.parametrize(
    ("place", "squat"),
    [(place, "of another user") for place in PLACES] + [("/mnt/run/pardata-0", squat) for squat in [*SQUATS][1:]],
)
def test_sessions_go_elsewhere_and_are_found_there(place, squat):
    taken = " && ".join(SQUATS[squat].replace("mkdir /mnt", "mkdir -p /mnt").format(path) for path in PLACES[place])
    run = 'env -u PARDATA_SESSION XDG_RUNTIME_DIR=/mnt/run TMPDIR=/mnt/tmp "$0"'
    command = f"{MOUNT} && {taken} && ({run} -; {run} -m pardata sweep && ls /dev/shm; ls -d /mnt/*/pardata-0*/* 2>&1)"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, sys.executable],
        input=textwrap.dedent(SCRIPT),
        capture_output=True,
        text=True,
        check=False,
    )
    told, *swept = done.stdout.splitlines()
    path, (number, childs_path), blocks, listed = json.loads(told)
    assert os.path.dirname(path).startswith(place), done.stderr
    assert (number, childs_path) == ("7", path)
    assert blocks == ["childs", "mine", "pardata-0", "workers"]
    # In the order of the registers, which have process ids in their names: these begin again at a most.
    assert sorted(listed) == [["childs", True], ["mine", True], ["workers", True]]
    assert sorted(line.split(",")[0] for line in swept[:3]) == ["removed childs", "removed mine", "removed workers"]
    assert swept[4:] == ["pardata-0", "ls: cannot access '/mnt/*/pardata-0*/*': No such file or directory"], done.stdout
