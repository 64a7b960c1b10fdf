#!/usr/bin/env bash
# HDF5 2.0.0 (h5py 3.16.0) on Linux: a chunk that does not fit on the disk ends the process by SIGSEGV, at the close.
#
# Chunks wait in a cache, so that the assignment to the dataset succeeds, and the error comes from close(), as an
# OSError that can be caught. What follows cannot: the file is not closed (bool(file) is true), and closing it again,
# letting go of it, or the end of the interpreter is a segmentation fault. Nothing that a program does after the error
# avoids it: with flush() the error comes earlier, and the rest is the same. A contiguous dataset gives errors only.
# One expects a full disk to be an error; whoever cannot do without must look for free space before each write.
# (A limit on the size of files stands in for the full disk here.)
#
# Seen: exit status -11 with chunks, whether close() is called once, twice or after flush(); 0 without chunks.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

cat > full.py <<'END'
import resource
import sys

import h5py
import numpy as np

chunks, *calls = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
file = h5py.File("f.h5", "w")
dataset = file.create_dataset("x", (1000, 1000), "f8", chunks=(10, 1000) if chunks == "chunks" else None)
try:
    dataset[:] = np.random.default_rng(0).random((1000, 1000))
except OSError:
    pass
for call in calls:
    try:
        getattr(file, call)()
    except (OSError, RuntimeError):
        pass
END

venv/bin/python - <<'EOF'
import subprocess
import sys

seen = {}
for arguments in (["chunks", "close"], ["chunks", "close", "close"], ["chunks", "flush", "close"], ["none", "close"]):
    done = subprocess.run([sys.executable, "full.py", *arguments], stderr=subprocess.DEVNULL)
    seen[" ".join(arguments)] = done.returncode
expected = {"chunks close": -11, "chunks close close": -11, "chunks flush close": -11, "none close": 0}
print(seen)
if seen != expected:
    raise SystemExit("HDF5 now treats a full disk differently.")
EOF
