#!/usr/bin/env bash
# NumPy 2.4.6 (2.5.5 does the same): what is computed from a masked array over a memmap keeps the file mapped.
#
# np.ma.array(memmap) notes the attributes of the memmap, its mmap among them, in a dictionary for optional information,
# and arithmetic, copy() and copies of slices hand that dictionary on. Their numbers are in memory of their own, yet two
# rows copied out of a file of any size keep all of it mapped (and, where a mapped file cannot be removed or replaced,
# in place) for as long as they live. They can be pickled, as pickling leaves the dictionary out, but copy.deepcopy
# refuses them: "cannot pickle 'mmap.mmap' object". With a plain array in place of the masked one the file is let go of
# by the same steps, and so it is by cumsum, where and concatenate, which drop the dictionary.
#
# Seen: the file is still mapped after x + 1, x.copy() and x[:2].copy(), not after x.cumsum() and np.ma.where; deepcopy
# raises TypeError for the first three.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet numpy==2.4.6

venv/bin/python - <<'EOF'
import copy
import gc
import pickle

import numpy as np

np.save("numbers.npy", np.arange(6.0))
steps = {
    "x + 1": lambda x: x + 1,
    "x.copy()": lambda x: x.copy(),
    "x[:2].copy()": lambda x: x[:2].copy(),
    "x.cumsum()": lambda x: x.cumsum(),
    "where": lambda x: np.ma.where(x > 1, x, 0),
}


def is_mapped():
    with open("/proc/self/maps") as maps:
        return "numbers.npy" in maps.read()


def copies(made):
    try:
        copy.deepcopy(made)
    except TypeError as error:
        return str(error)
    return "copied"


seen = {}
for name, step in steps.items():
    made = step(np.ma.array(np.load("numbers.npy", mmap_mode="r"), mask=[0, 0, 0, 0, 0, 1]))
    gc.collect()
    seen[name] = is_mapped(), copies(made), pickle.loads(pickle.dumps(made)).shape == made.shape
    del made
    gc.collect()
    assert not is_mapped()
    plain = np.array(np.load("numbers.npy", mmap_mode="r")) + 1
    gc.collect()
    assert not is_mapped(), "a plain array keeps it, too"
keeps, drops = (True, "cannot pickle 'mmap.mmap' object", True), (False, "copied", True)
print(seen)
if list(seen.values()) != [keeps, keeps, keeps, drops, drops]:
    raise SystemExit("Masked arrays over a mapped file now behave differently.")
EOF
