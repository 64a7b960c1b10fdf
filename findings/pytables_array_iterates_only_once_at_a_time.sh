#!/usr/bin/env bash
# PyTables 3.11.1: an array in a file is its own iterator, so two loops over it share one position.
#
# iter(array) returns the node itself and rewinds it. zip(array, array) therefore pairs neighbours instead of equals,
# and an inner loop over the same array, which any all-pairs search has, ends the outer one after its first row and
# misses a row itself. NumPy arrays, h5py datasets and PyTables' own Table give each loop an iterator of its own. In
# turn, a list of a Table's iterator holds one row object many times, which shows the last row, while a list of an
# Array's holds the values.
#
# Seen: zip gives (0, 1), (2, 3); the nested loop gives 3 pairs, (0, 1), (0, 2), (0, 3), instead of 16; of a table's
# rows 1 and 3 the list says 3, 3.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tables==3.11.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import tables

with tables.open_file("f.h5", "w") as file:
    array = file.create_array("/", "array", np.arange(4))
    table = file.create_table("/", "table", np.array([(1, 2.0), (3, 4.0)], "i4,f8"))
    seen = (
        [(int(a), int(b)) for a, b in zip(array, array)],
        [(int(a), int(b)) for a in array for b in array],
        [int(row["f0"]) for row in list(table)],
        len([(a["f0"], b["f0"]) for a in table for b in table]),
    )
expected = [(0, 1), (2, 3)], [(0, 1), (0, 2), (0, 3)], [3, 3], 4
print(seen)
if seen != expected:
    raise SystemExit("PyTables now iterates differently.")
EOF
