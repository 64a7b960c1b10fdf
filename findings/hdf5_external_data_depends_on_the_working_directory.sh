#!/usr/bin/env bash
# HDF5 2.0.0 (h5py 3.16.0): of three references to a neighbouring file, one is looked up in the working directory.
#
# A virtual dataset's source and an external link are found beside the file that names them. The file of an external
# raw dataset (create_dataset with external=) is taken relative to the process's working directory. The same three
# names in the same file therefore work where it was written and fail for a worker that was started elsewhere, and if
# a file of that name lies there, its bytes are read as the data.
#
# Seen: from another directory the virtual dataset and the link give [1, 2, 3]; the external dataset raises OSError,
# and gives [7, 7, 7] if a file of that name with other content lies in that directory.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet h5py==3.16.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import os

import h5py
import numpy as np

os.makedirs("data")
os.makedirs("elsewhere")
os.chdir("data")
with h5py.File("source.h5", "w") as source:
    source["x"] = [1, 2, 3]
with h5py.File("master.h5", "w") as master:
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource("source.h5", "x", (3,))
    master.create_virtual_dataset("virtual", layout)
    master["link"] = h5py.ExternalLink("source.h5", "x")
    master.create_dataset("external", (3,), "i8", external=[("raw.bin", 0, 24)])[:] = [1, 2, 3]


def read(name):
    with h5py.File("../data/master.h5", "r") as master:
        try:
            return master[name][:].tolist()
        except OSError:
            return "OSError"


seen = [read("external")]
os.chdir("../elsewhere")
seen += [read("virtual"), read("link"), read("external")]
np.full(3, 7).tofile("raw.bin")
seen.append(read("external"))
expected = [[1, 2, 3], [1, 2, 3], [1, 2, 3], "OSError", [7, 7, 7]]
print(seen)
if seen != expected:
    raise SystemExit("HDF5 now finds external raw data in another way.")
EOF
