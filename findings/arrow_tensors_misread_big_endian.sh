#!/usr/bin/env bash
# pyarrow 26.0.1: a tensor made of a big-endian array has other numbers; an array made of it is refused.
#
# pa.array and pa.FixedShapeTensorArray refuse an array of the other byte order (ArrowNotImplementedError, "Byte-swapped
# arrays not supported"). pa.Tensor.from_numpy, and the sparse tensors' from_dense_numpy, look at the kind
# of number only and take the bytes for the machine's own: 1 is 16777216, 1.5 is 3.13984e-319. FITS, netCDF-3 and IDL
# files give such arrays. The tensor, and what pa.ipc writes of it, has no record that it was read wrongly.
#
# Seen on a little-endian machine: [1, 2, 3] of >i4 is [16777216, 33554432, 50331648] as Tensor, SparseCOOTensor and
# SparseCSRMatrix; pa.array and FixedShapeTensorArray raise.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import pyarrow as pa

numbers = np.array([[1, 2, 3]], ">i4")


def attempt(make):
    try:
        return make(numbers).tolist()
    except pa.ArrowNotImplementedError as error:
        return type(error).__name__


seen = {
    "array": attempt(lambda array: pa.array(array[0])),
    "FixedShapeTensorArray": attempt(pa.FixedShapeTensorArray.from_numpy_ndarray),
    "Tensor": attempt(lambda array: pa.Tensor.from_numpy(array).to_numpy()),
    "SparseCOOTensor": attempt(lambda array: pa.SparseCOOTensor.from_dense_numpy(array).to_tensor().to_numpy()),
    "SparseCSRMatrix": attempt(lambda array: pa.SparseCSRMatrix.from_dense_numpy(array).to_tensor().to_numpy()),
}
print(*seen.items(), sep="\n")
expected = dict.fromkeys(("array", "FixedShapeTensorArray"), "ArrowNotImplementedError")
expected |= dict.fromkeys(("Tensor", "SparseCOOTensor", "SparseCSRMatrix"), [[16777216, 33554432, 50331648]])
if seen != expected:
    raise SystemExit("pyarrow now makes tensors of big-endian arrays differently.")
EOF
