#!/usr/bin/env bash
# h5py 3.16.0: a file's attributes and a dataset's identifier can be pickled, and what was pickled cannot be loaded.
#
# File, Dataset and Group refuse with "h5py objects cannot be pickled". Their .attrs, .dims and .id do not:
# pickle.dumps returns bytes, and the error comes where they are read. Handed to a pool of processes, the item leaves
# the sender without complaint, and fails in the receiving process, in concurrent.futures as a broken pool. One
# expects an object that cannot travel to say so where it departs.
#
# Seen: dumps works for attrs, dims and id, loads raises TypeError for each; the dataset itself is refused by dumps.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import h5py

seen = {}
with h5py.File("f.h5", "w") as file:
    dataset = file.create_dataset("x", data=[1])
    for name, part in {"dataset": dataset, "attrs": dataset.attrs, "dims": dataset.dims, "id": dataset.id}.items():
        try:
            data = pickle.dumps(part)
        except TypeError:
            seen[name] = "not pickled"
            continue
        try:
            pickle.loads(data)
            seen[name] = "loaded"
        except TypeError:
            seen[name] = "pickled, not loaded"
expected = dict.fromkeys(("attrs", "dims", "id"), "pickled, not loaded") | {"dataset": "not pickled"}
print(seen)
if seen != expected:
    raise SystemExit("h5py's objects are now pickled differently.")
EOF
