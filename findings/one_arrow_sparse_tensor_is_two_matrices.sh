#!/usr/bin/env bash
# pyarrow 26.0.1 with SciPy 1.17.1: a sparse tensor has other numbers as a dense tensor than as SciPy's matrix.
#
# A sparse matrix may name a place twice; finite elements, histograms and graphs with multiple edges are built
# so, and SciPy adds the entries up, in toarray and in every product. pa.SparseCOOTensor, SparseCSRMatrix and
# SparseCSCMatrix take such a matrix as it is (from_scipy) and give it back whole (to_scipy). to_tensor() of the same
# object writes one entry over the other, so that only the last remains: the sum of a histogram of 6 events is less
# than 6. Nothing raises or warns. `matrix.sum_duplicates()` before makes both the same.
#
# Seen: entries 1 and 2 at one place are 3 by to_scipy() and 2 by to_tensor(), in all three classes; after
# sum_duplicates 3 by both.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 scipy==1.17.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import pyarrow as pa
from scipy import sparse

matrices = {
    pa.SparseCOOTensor: sparse.coo_matrix(([1, 2, 3], ([0, 0, 1], [1, 1, 0])), shape=(2, 2)),
    pa.SparseCSRMatrix: sparse.csr_matrix(([1, 2, 3], [1, 1, 0], [0, 2, 3]), shape=(2, 2)),
    pa.SparseCSCMatrix: sparse.csc_matrix(([3, 1, 2], [1, 0, 0], [0, 1, 3]), shape=(2, 2)),
}


def both(kind, matrix):
    tensor = kind.from_scipy(matrix)
    return tensor.to_scipy().toarray().tolist(), tensor.to_tensor().to_numpy().tolist()


seen = []
for kind, matrix in matrices.items():
    original = matrix.toarray().tolist()
    twice = both(kind, matrix)
    matrix.sum_duplicates()
    once = both(kind, matrix)
    print(f"{kind.__name__}: to_scipy, to_tensor {twice}; after sum_duplicates {once}")
    seen.append((original, twice, once))
right, lost = [[0, 3], [3, 0]], [[0, 2], [3, 0]]
if seen != [(right, (right, lost), (right, right))] * 3:
    raise SystemExit("pyarrow now treats repeated entries of sparse matrices differently.")
EOF
