"""/dev/shm of 1 MiB, as in a container: an error with figures, never a SIGBUS (USERS.md 12)."""

import shutil
import subprocess
import sys
import textwrap

import pytest

MOUNT = "mount -t tmpfs -o size=1m tmpfs /dev/shm"

SCRIPT = """
    import os
    import numpy as np
    import pardata
    from pardata.memory.named import session

    blocks = []
    try:
        while True:  # every byte of every block is written to
            blocks.append(pardata.SharedMemory(create=True, size=50_000))
            np.frombuffer(blocks[-1].buf, np.uint8)[:] = 1
    except pardata.CapacityError as error:
        assert "50000 bytes" in str(error) and "/dev/shm" in str(error), error
    print("blocks", len(blocks) > 10)

    large = [1] * 9999
    for make in (lambda: pardata.SharedMemory("name", create=True, size=900_000), lambda: pardata.ShareableList(large)):
        try:
            make()
        except pardata.CapacityError:
            print("refused")
    assert not os.path.exists("/dev/shm/name")

    for number, block in enumerate(blocks):
        block.close()
        block.unlink()
    del blocks, block
    with pardata.SharedMemoryManager() as manager:
        lists = []
        try:
            while True:
                lists.append(manager.ShareableList([1]))
        except pardata.CapacityError:
            print("lists", len(lists) > 100)

    frames = list(pardata.source(range(3)).map(lambda x: np.zeros(10**6) + x))
    print("anonymous", pardata.zeros(10_000_000).sum(), frames[2][0])
"""


CANNOT_WRITE = """
    import errno
    import numpy as np
    import pardata

    def in_a_manager():
        with pardata.SharedMemoryManager() as manager:
            manager.SharedMemory(10)

    makers = {
        "block": lambda: pardata.SharedMemory(create=True, size=100),
        "named": lambda: pardata.SharedMemory("pardata-test", create=True, size=100),
        "list": lambda: pardata.ShareableList([1, "two"]),
        "manager": in_a_manager,
    }
    for kind, make in makers.items():
        try:
            make()
        except (OSError, pardata.CapacityError) as error:
            print(kind, type(error).__name__, REMEDY in str(error))
"""
ALL_BUT_NAMES = """
    with pardata.serve(pardata.Table([1], ["one"])) as server, server.lookup() as client:
        print(client[1], pardata.zeros(1000).sum(), sum(pardata.source(range(4)).map(abs)))
"""


def told(error):
    return "".join(f"{kind} {error} True\n" for kind in ("block", "named", "list", "manager"))


def play(setting, script):
    """Run a script where the shell command `setting` has been run before. Return its exit code, output and errors."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{setting} && exec env -u PARDATA_SESSION "$0" -', sys.executable],
        input=textwrap.dedent(script),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


needs_mounts = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "sh", "-c", MOUNT], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let us mount a file system of our own",
)


@needs_mounts
def test_full_mount_is_an_error_with_figures():
    expected = "blocks True\nrefused\nrefused\nlists True\nanonymous 0.0 2.0\n"
    assert play(MOUNT, SCRIPT) == (0, expected, "")


@needs_mounts
def test_a_mount_that_cannot_be_written_to_is_an_error_that_says_so_and_concerns_names_alone():
    script = CANNOT_WRITE.replace("REMEDY", "'have it mounted for writing'") + ALL_BUT_NAMES
    expected = told("OSError") + "one 0.0 6\n"
    assert play(f"{MOUNT} && mount -o remount,ro /dev/shm", script) == (0, expected, "")


@needs_mounts
def test_a_mount_without_inodes_is_an_error_that_says_so():
    script = CANNOT_WRITE.replace("REMEDY", "'has 2 inodes, and all are in use'")
    setting = f"{MOUNT.replace('size=1m', 'size=1m,nr_inodes=2')} && touch /dev/shm/taken"
    assert play(setting, script) == (0, told("CapacityError"), "")


@needs_mounts
def test_a_process_that_may_make_no_files_gets_an_error_that_names_the_limit():
    script = (
        CANNOT_WRITE.replace("REMEDY", "'ulimit -f'")
        + """
    for kind, make in {"table": lambda: pardata.Table([1], [2]), "array": lambda: pardata.zeros(1000)}.items():
        try:
            make()
        except pardata.CapacityError as error:
            print(kind, "ulimit -f" in str(error))
    """
    )
    assert play("ulimit -f 0", script) == (0, told("CapacityError") + "table True\narray True\n", "")
