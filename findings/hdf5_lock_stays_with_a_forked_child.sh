#!/usr/bin/env bash
# HDF5 2.0.0 (h5py 3.16.0) on Linux: a closed file stays locked as long as a child lives that was forked while it was
# open.
#
# HDF5 locks with flock, which belongs to the open file description, and fork shares that. close() in the parent
# closes its descriptor but does not unlock, so that a long-lived worker which never touched the file keeps every
# other program out. Nobody uses the file any more, and it is complete. locking="best-effort" does not help: it
# tolerates file systems without locks, not a lock that is held. One expects that close() ends what open() began.
#
# Seen: after close(), opening in another process raises BlockingIOError, also with "best-effort"; it works with
# locking=False, and after the child's end.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import os
import subprocess
import sys

import h5py

file = h5py.File("f.h5", "w")
file["x"] = [1]
reading, writing = os.pipe()
child = os.fork()
if not child:  # it lives until its parent says so, and does nothing with the file
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
file.close()


def opened(locking):
    code = f"import h5py; h5py.File('f.h5', 'r', locking={locking!r}).close()"
    errors = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
    return "BlockingIOError" if "BlockingIOError" in errors else errors or "opened"


seen = [opened(True), opened("best-effort"), opened(False)]
os.write(writing, b"x")
os.waitpid(child, 0)
seen.append(opened(True))
expected = ["BlockingIOError", "BlockingIOError", "opened", "opened"]
print(seen)
if seen != expected:
    raise SystemExit("HDF5's lock and forked children now go together differently.")
EOF
