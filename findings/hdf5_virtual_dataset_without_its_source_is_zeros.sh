#!/usr/bin/env bash
# HDF5 2.0.0 (h5py 3.16.0): a virtual dataset whose source file is gone reads as zeros, without an error.
#
# A virtual dataset maps regions of other files. If one of them is missing, or not yet copied to the node, its region
# is the fill value. The other way to name data of another file, an external link, raises KeyError in the same
# situation, and a dataset with external raw data raises OSError. The shape is right, so that a mean over frames is
# silently pulled towards zero.
#
# Seen: [1, 2, 3] with the source, [0, 0, 0] without it; the link raises KeyError.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import os

import h5py

with h5py.File("source.h5", "w") as source:
    source["x"] = [1, 2, 3]
with h5py.File("master.h5", "w") as master:
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource("source.h5", "x", (3,))
    master.create_virtual_dataset("virtual", layout)
    master["link"] = h5py.ExternalLink("source.h5", "x")


def read(name):
    with h5py.File("master.h5", "r") as master:
        try:
            return master[name][:].tolist()
        except (KeyError, OSError) as error:
            return type(error).__name__


seen = [read("virtual"), read("link")]
os.rename("source.h5", "elsewhere.h5")
seen += [read("virtual"), read("link")]
expected = [[1, 2, 3], [1, 2, 3], [0, 0, 0], "KeyError"]
print(seen)
if seen != expected:
    raise SystemExit("HDF5 now reads a virtual dataset without its source differently.")
EOF
