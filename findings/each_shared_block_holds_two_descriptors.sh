#!/usr/bin/env bash
# CPython 3.11 to 3.15, NumPy 2.4.6: a mapped file costs a descriptor for as long as it is mapped, a SharedMemory two.
#
# POSIX maps a file independently of its descriptor, which may be closed at once. Python's mmap duplicates it and
# keeps the copy, np.memmap and np.load(mmap_mode=) inherit that, and multiprocessing's SharedMemory holds the
# original besides. Under the common limit of 1024 a program can thus have about a thousand mapped .npy files or half
# as many shared blocks, however small, and then fails with EMFILE ("Too many open files") with no file open as far as
# it knows. Python 3.13's mmap has trackfd=False for this, which neither NumPy nor SharedMemory uses.
#
# Seen: 5 more descriptors for 5 loaded arrays, 10 for 5 shared blocks; 0 after they are gone.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6

venv/bin/python - <<'EOF'
import os
from multiprocessing.shared_memory import SharedMemory

import numpy as np


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def cost(make, end):
    before = descriptors()
    held = [make() for _ in range(5)]
    during = descriptors()
    while held:
        end(held.pop())
    return during - before, descriptors() - before


def end_block(block):
    block.close()
    block.unlink()


def make_block():
    return SharedMemory(create=True, size=100)


np.save("a.npy", np.zeros(3))
end_block(make_block())  # the first one starts the resource tracker, which holds a descriptor of its own
seen = cost(lambda: np.load("a.npy", mmap_mode="r"), lambda array: None), cost(make_block, end_block)
expected = (5, 0), (10, 0)
print(seen)
if seen != expected:
    raise SystemExit("Mapped arrays or shared blocks now hold another number of descriptors.")
EOF
