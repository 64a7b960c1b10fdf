#!/usr/bin/env bash
# zarr 3.4.2 (3.1.6 likewise): a handle that was opened earlier takes back what another one has stored since.
#
# An open array keeps the metadata as they were when it was opened, and every change writes all of them. Setting one
# attribute therefore removes attributes that others have set meanwhile, shrinks an array back that another has
# extended (which hides its rows), and append() writes over the rows that another appended. No step overlaps another
# here: each call has returned before the next begins, so that no lock around the calls would help. In HDF5, and in a
# directory of files, the second change keeps the first one.
#
# Seen: of attributes a and b, set one after the other through two handles, only b is left; the array of 2 + 4 rows
# has 2 again; of the appended 1, 1 and 2, 2 only 2, 2 are left.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet "zarr==3.4.2; python_version>='3.12'" "zarr==3.1.6; python_version<'3.12'" numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import zarr


def two_handles(path):
    zarr.create_array(path, shape=(2,), chunks=(2,), dtype="i4", fill_value=0)
    return zarr.open_array(path), zarr.open_array(path)


first, second = two_handles("attributes")
first.attrs["a"] = 1
second.attrs["b"] = 2
attributes = dict(zarr.open_array("attributes").attrs)

first, second = two_handles("extended")
first.append(np.ones(4, "i4"))
second.attrs["b"] = 2
rows = zarr.open_array("extended").shape[0]

first, second = two_handles("appended")
first.append(np.full(2, 1, "i4"))
second.append(np.full(2, 2, "i4"))
seen = attributes, rows, zarr.open_array("appended")[:].tolist()
expected = {"b": 2}, 2, [0, 0, 2, 2]
print(seen)
if seen != expected:
    raise SystemExit("zarr's handles now see each other's changes in another way.")
EOF
