#!/usr/bin/env bash
# pyarrow 26.0.1 with sparse 0.19.3: what an array of PyData's sparse does not store becomes 0, whatever it was.
#
# A sparse.COO has a fill value, the value of all places that it does not store. It is 0 at first, and follows the
# arithmetic: of x + 1 it is 1, of log(x) minus infinity. pa.SparseCOOTensor.from_pydata_sparse takes the places and
# values stored and not the fill value, for which Arrow's format has no field; in the tensor, and in what is sent or
# written of it, the rest is 0. sparse's own conversion to SciPy, which cannot hold it either, raises ValueError.
#
# Seen: [[1, 2], [3, 1]], which is [[0, 1], [2, 0]] + 1, becomes [[0, 2], [3, 0]]; to_scipy_sparse raises ValueError.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 sparse==0.19.3 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import pyarrow as pa
import sparse

zeros = sparse.COO.from_numpy(np.array([[0, 1], [2, 0]]))
ones = zeros + 1


def scipy(array):
    try:
        return array.to_scipy_sparse().toarray().tolist()
    except ValueError as error:
        return type(error).__name__


seen = [(array.todense().tolist(), pa.SparseCOOTensor.from_pydata_sparse(array).to_tensor().to_numpy().tolist(),
         scipy(array)) for array in (zeros, ones)]
for array, tensor, matrix in seen:
    print(f"sparse {array}: Arrow {tensor}, SciPy {matrix}")
first = [[0, 1], [2, 0]]
expected = [(first, first, first), ([[1, 2], [3, 1]], [[0, 2], [3, 0]], "ValueError")]
if seen != expected:
    raise SystemExit("pyarrow now treats the fill value of sparse arrays differently.")
EOF
