#!/usr/bin/env bash
# safetensors 0.8.0 (2026), NumPy 2.4.6: an array in Fortran order is saved with its values in the wrong places.
#
# safetensors.numpy takes the array's shape as that of a C-ordered array and its bytes as they lie in memory, so that
# a transposed array, or what scikit-learn's PCA returns, comes back with the right shape, dtype and sum and with
# other values. No error, no warning. Every other writer of arrays (np.save, h5py, pickle, safetensors 0.7.0 itself)
# writes the values that the array shows, whatever its layout; the format's other front end refuses such tensors.
#
# Seen: [[0, 1, 2], [3, 4, 5]] in Fortran order comes back as [[0, 3, 1], [4, 2, 5]]; in C order as it was.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet safetensors==0.8.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
from safetensors.numpy import load, save

rows = np.arange(6).reshape(2, 3)
columns_first = np.asfortranarray(rows)
assert np.array_equal(rows, columns_first)
seen = load(save({"a": rows}))["a"].tolist(), load(save({"a": columns_first}))["a"].tolist()
expected = [[0, 1, 2], [3, 4, 5]], [[0, 3, 1], [4, 2, 5]]
print("C order, Fortran order:", seen)
if seen != expected:
    raise SystemExit("safetensors no longer scrambles Fortran-ordered arrays in the way described here.")
EOF
