#!/usr/bin/env bash
# polars 2.1.0 (2026), pyarrow 26.0.1: an immutable Series or Array changes when the NumPy array it was made of does.
#
# pl.Series(array) and pa.array(array) take a contiguous array's memory as it is. Arrow calls its arrays immutable,
# and the views that both libraries give are read-only, but nothing keeps the owner of the array from writing: a
# buffer that is refilled for each frame changes all the frames that were stored before. Values that have to be
# converted, or gathered from a strided view, are copied, so that the same code is right for one input and wrong for
# another. pandas 3 copies a NumPy array by default for this very reason.
#
# Seen: after array[0] = 99 the polars Series and the Arrow array start with 99; the strided ones and pandas' with 0.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet polars==2.1.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6

venv/bin/python - <<'EOF'
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa


def first_after_a_write(make, step):
    array = np.arange(10)[::step]
    made = make(array)
    array[0] = 99
    return int(np.asarray(made)[0])


seen = {make.__module__.split(".")[0]: (first_after_a_write(make, 1), first_after_a_write(make, 2))
        for make in (pl.Series, pa.array, pd.Series)}
expected = {"polars": (99, 0), "pyarrow": (99, 0), "pandas": (0, 0)}
print(seen)
if seen != expected:
    raise SystemExit("polars, pyarrow or pandas now shares NumPy's memory in other cases.")
EOF
