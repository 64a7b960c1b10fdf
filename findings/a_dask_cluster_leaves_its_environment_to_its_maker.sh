#!/usr/bin/env bash
# distributed 2026.8.0: a LocalCluster that was closed leaves the environment of its workers in the program that made it.
#
# Each worker process is started by a nanny, and the nannies of a LocalCluster live in the program that makes it. Before a
# nanny starts its process it enters distributed.nanny.pre-spawn-environ into os.environ, which is then the environment of
# the program itself: one thread for OpenMP, MKL and OpenBLAS, a trim threshold for malloc, and a PYTHONHASHSEED, drawn
# once. Closing the cluster takes none of it back. Whatever the program starts afterwards (a pool of processes, a solver, a
# script) computes on one core, and hashes of texts, thus the order of sets, are the same in all of them, so that a bug of
# that order is never seen there. NumPy in the program itself keeps its threads if it was loaded before: there nothing shows.
#
# Seen: a child started before the cluster: no OMP_NUM_THREADS, two hashes; after the cluster was closed: 1, and one hash.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet distributed==2026.8.0
unset OMP_NUM_THREADS PYTHONHASHSEED

cat >program.py <<'EOF'
import os
import subprocess
import sys

from distributed import Client, LocalCluster

CHILD = "import os; print(os.environ.get('OMP_NUM_THREADS'), hash('a text'))"


def children():
    """What two new processes see: their limits of threads, and how many hashes one text has."""
    told = [subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True).stdout.split() for _ in "ab"]
    return {limit for limit, _ in told}, len({number for _, number in told})


if __name__ == "__main__":
    before = children()
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        assert client.submit(abs, -1).result() == 1
    after = children()
    print("before:", before, "after the cluster was closed:", after, "PYTHONHASHSEED" in os.environ)
    if before != ({"None"}, 2) or after != ({"1"}, 1):
        raise SystemExit("LocalCluster now leaves another environment.")
EOF
venv/bin/python program.py
