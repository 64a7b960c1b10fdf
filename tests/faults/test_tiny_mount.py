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


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "sh", "-c", MOUNT], capture_output=True, check=False).returncode != 0,
    reason="this machine does not let us mount a file system of our own",
)
def test_full_mount_is_an_error_with_figures():
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{MOUNT} && exec env -u PARDATA_SESSION "$0" -', sys.executable],
        input=textwrap.dedent(SCRIPT),
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "blocks True\nrefused\nrefused\nlists True\nanonymous 0.0 2.0\n"
    assert (done.returncode, done.stdout) == (0, expected), done.stderr
