#!/usr/bin/env bash
# TensorStore 0.1.86 (2026): the first element of t[2:5] is t[2:5][2], and t[-3:] is an error.
#
# A slice keeps the coordinates of the whole, so that its index 0 is out of range. Negative numbers are coordinates
# too and do not count from the end, and a slice beyond the end is not cut but refused. A slice with a step, however,
# starts at the origin divided by the step: t[2:8:2] has indices 1, 2, 3. np.asarray(t[2:5]) starts at 0 again. Code
# written for "something like an array" (shape, dtype, slicing) thus works on NumPy, h5py, zarr and dask, and raises
# here, or takes another element where the ranges overlap, as in t[1:8][1:3], which is NumPy's t[1:3].
#
# Seen: 2 for t[2:5][2]; IndexError for t[2:5][0], t[-3:] and t[5:50]; [1, 2] for t[1:8][1:3], where NumPy gives [2,
# 3].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet tensorstore==0.1.86 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import tensorstore

array = np.arange(10)
store = tensorstore.array(array)


def outcome(select):
    try:
        return np.asarray(select(store)).tolist()
    except IndexError:
        return "IndexError"


seen = [
    outcome(lambda t: t[2:5][2]), outcome(lambda t: t[2:5][0]), outcome(lambda t: t[-3:]), outcome(lambda t: t[5:50]),
    outcome(lambda t: t[1:8][1:3]), store[2:8:2].domain.origin[0],
]
expected = [2, "IndexError", "IndexError", "IndexError", [1, 2], 1]
print(seen, "where NumPy gives", array[1:8][1:3].tolist(), "for the fifth")
if seen != expected:
    raise SystemExit("TensorStore now counts the indices of slices differently.")
EOF
