#!/usr/bin/env bash
# pyarrow 26.0.1 (2026): ten rows of an array of a million are pickled as eight megabytes.
#
# A slice is a view of its array's buffers, and pickle writes the buffers, not the rows: Array, RecordBatch and Table
# alike, with every protocol. Cutting a table into pieces for a pool of processes thus sends the whole table once per
# piece, and each worker holds all of it. .nbytes of the same slice says 80. Arrow's own IPC stream cuts to the rows,
# and so do the pickles of NumPy, of polars, and of pandas on Arrow memory (which goes around it).
#
# Seen: more than 8 MB for Array, RecordBatch and Table; below 2 kB for IPC, NumPy, polars and pandas' int64[pyarrow].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pyarrow==26.0.1 polars==2.1.0 pandas==3.1.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

numbers = np.arange(1_000_000)
rows = pa.array(numbers)[:10]
batch = pa.record_batch({"a": numbers}).slice(0, 10)
stream = pa.BufferOutputStream()
with pa.ipc.new_stream(stream, batch.schema) as writer:
    writer.write_batch(batch)
assert rows.nbytes == 80
pieces = [rows, batch, pa.table({"a": numbers}).slice(0, 10), numbers[:10], pl.Series(numbers)[:10],
          pd.Series(numbers, dtype="int64[pyarrow]").iloc[:10]]
sizes = [len(pickle.dumps(piece, 5)) for piece in pieces] + [stream.getvalue().size]
print("Array, RecordBatch, Table, NumPy, polars, pandas, IPC:", sizes)
seen = [size > 8_000_000 for size in sizes], [size < 2_000 for size in sizes]
expected = [True] * 3 + [False] * 4, [False] * 3 + [True] * 4
if seen != expected:
    raise SystemExit("Slices of Arrow data are now pickled differently.")
EOF
