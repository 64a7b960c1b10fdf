"""Two nodes that share nothing with the caller but a network: each has namespaces of its own, as another machine has.

On one machine an address in /proc opens what it should not: a node could read the caller's shared memory there.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALONE = ["unshare", "--net", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child"]
NEW_USER = ["unshare", "--user", "--map-root-user", *ALONE[1:]]

# Node I is a worker at 10.99.I.2, on a wire of its own to 10.99.I.1; the scheduler is at 10.99.0.1. /dev/shm is empty.
_NODE = """
echo "there"; read network_is_there
mount -t tmpfs tmpfs /dev/shm
ip link set lo up; ip addr add 10.99.$I.2/30 dev node$I; ip link set node$I up; ip route add default via 10.99.$I.1
exec "$PYTHON" -m distributed.cli.dask_worker tcp://10.99.0.1:8786 --host 10.99.$I.2 --nworkers 1 --nthreads 1 \
    --no-dashboard --no-nanny --memory-limit 2GB --local-directory "$FOLDER" >"$FOLDER/log$I" 2>&1
"""

_CALLER = """
import os, subprocess, sys
import distributed
import numpy as np
import pardata

ALONE, NODE, FOLDER = eval(sys.argv[1]), sys.argv[2], sys.argv[3]

def ip(words):
    subprocess.run(["ip", *words.split()], check=True)

def node(number):
    environ = {**os.environ, "I": str(number), "PYTHON": sys.executable, "FOLDER": FOLDER}
    made = subprocess.Popen([*ALONE, "sh", "-c", NODE], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    made.stdout.readline()
    ip(f"link add home{number} type veth peer name node{number}")
    ip(f"link set node{number} netns {made.pid}")
    ip(f"addr add 10.99.{number}.1/30 dev home{number}")
    ip(f"link set home{number} up")
    made.stdin.write(b"go\\n")
    made.stdin.close()
    return made

def places(_=None):
    return os.readlink("/proc/self/ns/pid"), os.readlink("/proc/self/ns/net"), tuple(os.listdir("/dev/shm"))

offset = pardata.array(np.arange(50_000.0))  # arrays in shared memory are in the items, in functions, and in `shared`

def moved(array):
    return array + offset

def moved_rows(rows):
    return rows + pardata.worker().shared[0]

ip("link set lo up")
ip("addr add 10.99.0.1/32 dev lo")
scheduler = {"cls": distributed.Scheduler, "options": {"host": "10.99.0.1", "port": 8786, "dashboard": False}}
with distributed.SpecCluster(workers={}, scheduler=scheduler, silence_logs=50) as cluster:
    nodes = [node(1), node(2)]
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=200)
        given = [pardata.array(np.full(50_000, float(number))) for number in range(40)]
        with pardata.source(given).map(moved, workers=2).map(np.sqrt).iterate(engine="dask") as run:
            made = list(run)
        assert all(np.array_equal(one, np.sqrt(other + offset)) for one, other in zip(made, given, strict=True))
        assert [node.is_lost for node in run.report().nodes] == [False, False]
        with pardata.WorkerPool(1, cluster="dask", shared=[pardata.array(np.arange(300.0))]) as pool:
            rows = pardata.array(np.random.default_rng(0).random((400, 300)))
            assert np.array_equal(pool.map_array(moved_rows, rows, chunksize=20), rows + np.arange(300.0))
            assert np.array_equal(pool.submit(moved, given[3]).result(), given[3] + offset)
            found = set(pool.map(places, range(40), chunksize=1))
        assert len(found) == 2 and not found & {places()}, found
        for own, others in zip(places()[:2], list(zip(*found))[:2], strict=True):
            assert len({own, *others}) == 3
    for each in nodes:
        each.kill()  # its child goes with it
        each.wait()
print("whole")
"""


def why_not():
    """Return why there are no namespaces here."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return "unshare and ip are needed"
    tried = [*NEW_USER, *ALONE, "ip", "link", "add", "home1", "type", "veth", "peer", "name", "node1"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no namespaces may be made here: {done.stderr.strip()}"


def test_nodes_that_share_nothing_but_a_network(tmp_path):
    pytest.importorskip("distributed")
    if (why := why_not()) is not None:
        pytest.skip(why)
    command = [*NEW_USER, sys.executable, "-c", _CALLER, repr(ALONE), _NODE, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environ)
    logs = "\n".join(path.read_text() for path in tmp_path.glob("log*"))
    assert done.stdout == "whole\n", f"{done.stderr}\n{logs}"
